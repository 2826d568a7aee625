// Work on as many threads as the caller says.
#ifndef CMC_CORE_THREADS_H_
#define CMC_CORE_THREADS_H_

#include <functional>
#include <memory>

#include "cmc_core/types.h"

namespace cmc::core {

// A fixed set of threads, the caller's among them: Threads(1) starts none. Not to be used from two threads at once.
class Threads {
 public:
  // Throws std::invalid_argument if count < 1.
  explicit Threads(int count);
  ~Threads();
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const;

  // Calls body(task, thread) for every task in [0, tasks), each once, in no fixed order; thread is in [0, count()) and
  // no two calls that run at once have the same one, so that it can name a scratch buffer. Returns when all are done.
  // The first exception that a body throws is thrown again here; tasks that have not begun by then are left out.
  void Run(Index tasks, const std::function<void(Index task, int thread)>& body);

 private:
  struct Pool;
  std::unique_ptr<Pool> pool_;
};

}  // namespace cmc::core

#endif  // CMC_CORE_THREADS_H_
