#include "cmc_core/threads.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace cmc::core {
namespace {

TEST(Threads, EveryTaskRunsOnce) {
  for (const int count : {1, 2, 5}) {
    Threads threads(count);
    EXPECT_EQ(threads.count(), count);
    for (const Index tasks : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> calls(tasks);
      threads.Run(tasks, [&](Index task, int) { ++calls[task]; });
      for (const auto& call : calls) EXPECT_EQ(call, 1);
    }
  }
}

TEST(Threads, WhatTasksWroteIsSeenAfterwards) {
  Threads threads(3);
  std::vector<Index> values(500, 0);
  for (Index round = 1; round <= 50; ++round) {
    threads.Run(500, [&](Index task, int) { values[task] += task * round; });
  }
  for (Index task = 0; task < 500; ++task) EXPECT_EQ(values[task], task * 50 * 51 / 2);
}

TEST(Threads, NoTwoCallsAtOnceHaveTheSameThread) {
  Threads threads(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<bool> shared{false};
  std::atomic<bool> strange{false};
  threads.Run(400, [&](Index, int thread) {
    if (thread < 0 || thread >= 4) {
      strange = true;
      return;
    }
    if (++inside[thread] != 1) shared = true;
    std::this_thread::sleep_for(std::chrono::microseconds(20));
    --inside[thread];
  });
  EXPECT_FALSE(shared);
  EXPECT_FALSE(strange);
}

TEST(Threads, AnExceptionArrivesAndTheRestIsLeftOut) {
  for (const int count : {1, 3}) {
    Threads threads(count);
    std::atomic<Index> ran{0};
    const auto fail = [&](Index task, int) {
      if (task == 3) throw std::runtime_error("task three");
      ++ran;
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    };
    try {
      threads.Run(10000, fail);
      FAIL() << "nothing was thrown";
    } catch (const std::runtime_error& error) {
      EXPECT_EQ(std::string(error.what()), "task three");
    }
    EXPECT_LT(ran, 9999);
    // It works as before.
    std::atomic<Index> calls{0};
    threads.Run(100, [&](Index, int) { ++calls; });
    EXPECT_EQ(calls, 100);
  }
}

TEST(Threads, AllTasksMayThrow) {
  Threads threads(4);
  for (int round = 0; round < 20; ++round) {
    EXPECT_THROW(threads.Run(8, [](Index, int) { throw std::logic_error("each"); }), std::logic_error);
  }
}

TEST(Threads, PoolsComeAndGo) {
  for (int round = 0; round < 20; ++round) {
    Threads idle(3);
    Threads busy(2);
    std::atomic<int> calls{0};
    busy.Run(2, [&](Index, int) { ++calls; });
    EXPECT_EQ(calls, 2);
  }
}

TEST(Threads, FewerThanOneIsRefused) {
  EXPECT_THROW(Threads(0), std::invalid_argument);
  EXPECT_THROW(Threads(-2), std::invalid_argument);
}

}  // namespace
}  // namespace cmc::core
