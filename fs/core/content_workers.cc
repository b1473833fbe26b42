#include "fs/core/content_workers.h"

#include <utility>

namespace varve {

ContentWorkers::ContentWorkers(unsigned threads, size_t tasks_max)
    : tasks_max_(threads > 0 ? tasks_max : 0) {
  for (unsigned i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
}

ContentWorkers::~ContentWorkers() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    tasks_.clear();
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) thread.join();
}

bool ContentWorkers::Submit(Task task) {
  {
    MutexLock lock(mutex_);
    if (stopping_ || tasks_.size() >= tasks_max_) return false;
    tasks_.push_back(std::move(task));
  }
  wake_.NotifyOne();
  return true;
}

void ContentWorkers::Run() noexcept {
  for (;;) {
    Task task;
    {
      MutexLock lock(mutex_);
      while (tasks_.empty() && !stopping_) wake_.Wait(mutex_);
      if (stopping_) return;
      task = std::move(tasks_.front());
      tasks_.pop_front();
    }
    task();
  }
}

}  // namespace varve
