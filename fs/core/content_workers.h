// A few threads that work off a bounded queue.
//
// Threads: all methods may be called concurrently. The destructor drops what is
//          queued and waits for what is running.
#pragma once

#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "store/base/mutex.h"

namespace varve {

class ContentWorkers {
 public:
  using Task = std::function<void()>;

  ContentWorkers(unsigned threads, size_t tasks_max);
  ~ContentWorkers();
  ContentWorkers(const ContentWorkers&) = delete;
  ContentWorkers& operator=(const ContentWorkers&) = delete;

  // False when the queue is full or there are no threads; the task is dropped.
  bool Submit(Task task);

 private:
  void Run() noexcept;

  const size_t tasks_max_;

  Mutex mutex_;
  CondVar wake_;
  std::deque<Task> tasks_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;
};

}  // namespace varve
