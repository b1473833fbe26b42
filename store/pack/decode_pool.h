// A few threads that help to decode what was read.
//
// Threads: Run() may be called concurrently. Tasks must not wait for other tasks.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "store/base/mutex.h"
#include "store/codec/codec.h"

namespace varve {

class DecodePool {
 public:
  using Task = std::function<void(Decoder&)>;

  explicit DecodePool(unsigned threads);
  // Finishes every task first.
  ~DecodePool();
  DecodePool(const DecodePool&) = delete;
  DecodePool& operator=(const DecodePool&) = delete;

  // Some thread will perform `task`, with a decoder of its own.
  void Run(Task task) EXCLUDES(mutex_);

 private:
  void Work() noexcept EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace varve
