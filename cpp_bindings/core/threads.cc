#include "cmc_core/threads.h"

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cmc::core {

struct Threads::Pool {
  explicit Pool(int count) {
    workers.reserve(count - 1);
    try {
      for (int thread = 1; thread < count; ++thread) workers.emplace_back([this, thread] { Serve(thread); });
    } catch (...) {
      Stop();  // the system gave fewer threads than asked for: those that run must be joined before `this` goes
      throw;
    }
  }

  ~Pool() { Stop(); }

  void Stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex);
      stopping = true;
    }
    called.notify_all();
    for (std::thread& worker : workers) worker.join();
    workers.clear();
  }

  void Serve(int thread) {
    std::uint64_t seen = 0;
    for (;;) {
      {
        std::unique_lock<std::mutex> lock(mutex);
        called.wait(lock, [&] { return stopping || call != seen; });
        if (stopping) return;
        seen = call;
      }
      Work(thread);
      const std::lock_guard<std::mutex> lock(mutex);
      if (--busy == 0) finished.notify_one();
    }
  }

  // Takes tasks until none is left or one has failed.
  void Work(int thread) {
    for (Index task = next.fetch_add(1); task < tasks && !failed.load(); task = next.fetch_add(1)) {
      try {
        (*body)(task, thread);
      } catch (...) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (!failed.exchange(true)) failure = std::current_exception();
      }
    }
  }

  std::mutex mutex;
  std::condition_variable called;    // there is work, or the pool stops
  std::condition_variable finished;  // the last busy worker is done
  bool stopping = false;
  std::uint64_t call = 0;  // number of Run calls so far: tells a worker a new one from the one it has served
  int busy = 0;            // workers that have not finished this call

  // Of the call in hand; written before `call` is raised, under the mutex.
  Index tasks = 0;
  const std::function<void(Index, int)>* body = nullptr;
  std::atomic<Index> next{0};
  std::atomic<bool> failed{false};
  std::exception_ptr failure;

  std::vector<std::thread> workers;
};

Threads::Threads(int count) {
  if (count < 1) throw std::invalid_argument("threads: " + std::to_string(count) + " given, at least 1 is needed");
  pool_ = std::make_unique<Pool>(count);
}

Threads::~Threads() = default;

int Threads::count() const { return static_cast<int>(pool_->workers.size()) + 1; }

void Threads::Run(Index tasks, const std::function<void(Index task, int thread)>& body) {
  Pool& pool = *pool_;
  // A single task, or a single thread, is not worth waking anyone.
  if (tasks <= 1 || pool.workers.empty()) {
    for (Index task = 0; task < tasks; ++task) body(task, 0);
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(pool.mutex);
    pool.tasks = tasks;
    pool.body = &body;
    pool.next = 0;
    pool.failed = false;
    pool.busy = static_cast<int>(pool.workers.size());
    ++pool.call;
  }
  pool.called.notify_all();
  pool.Work(0);
  std::exception_ptr failure;
  {
    std::unique_lock<std::mutex> lock(pool.mutex);
    pool.finished.wait(lock, [&] { return pool.busy == 0; });
    failure = std::exchange(pool.failure, nullptr);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace cmc::core
