// Memory that is not touched before it is used.
#ifndef CMC_CORE_RAW_BUFFER_H_
#define CMC_CORE_RAW_BUFFER_H_

#include <cstddef>
#include <memory_resource>
#include <type_traits>
#include <utility>

#if defined(__linux__)
#include <sys/mman.h>

#include <cstdint>
#endif

namespace cmc::core {

// An array of `count` elements from a memory resource, aligned to a cache line. Nothing is initialised: pages of a
// large array are first touched by the threads that work on them.
template <typename T>
class RawBuffer {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  RawBuffer() = default;
  RawBuffer(std::size_t count, std::pmr::memory_resource* memory) : memory_(memory), count_(count) {
    if (count_ == 0) return;
    data_ = static_cast<T*>(memory_->allocate(count_ * sizeof(T), kAlignment));
    AskForLargePages();
  }
  ~RawBuffer() {
    if (data_ != nullptr) memory_->deallocate(data_, count_ * sizeof(T), kAlignment);
  }
  RawBuffer(RawBuffer&& other) noexcept
      : memory_(other.memory_), count_(std::exchange(other.count_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  RawBuffer& operator=(RawBuffer&& other) noexcept {
    std::swap(memory_, other.memory_);
    std::swap(count_, other.count_);
    std::swap(data_, other.data_);
    return *this;
  }

  T* data() { return data_; }
  const T* data() const { return data_; }
  std::size_t count() const { return count_; }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }

 private:
  static constexpr std::size_t kAlignment = 64;

  // Blending logits in pages of 4 KB takes a third longer: in them a volume has a hundred thousand page faults.
  void AskForLargePages() {
#if defined(__linux__)
    constexpr std::uintptr_t kLargePage = std::uintptr_t{1} << 21;
    const auto start = reinterpret_cast<std::uintptr_t>(data_);
    const std::uintptr_t first = (start + kLargePage - 1) / kLargePage * kLargePage;
    const std::uintptr_t end = (start + count_ * sizeof(T)) / kLargePage * kLargePage;
    // Only a wish: where the system refuses it, nothing is lost.
    if (end > first) static_cast<void>(madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE));
#endif
  }

  std::pmr::memory_resource* memory_ = nullptr;
  std::size_t count_ = 0;
  T* data_ = nullptr;
};

}  // namespace cmc::core

#endif  // CMC_CORE_RAW_BUFFER_H_
