#include "fs/core/background_thread.h"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace varve {
namespace {

// Not SCHED_IDLE, which gets a third of a percent of a busy processor: who cancels the
// work waits until it has noticed.
constexpr int kNiceMax = 19;

void SetNice(pid_t thread, int nice) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(thread), nice);  // best effort
}

void SetIdleIo() {
  constexpr int kIoPrioWhoProcess = 1, kIoPrioClassIdle = 3, kIoPrioClassShift = 13;
  syscall(SYS_ioprio_set, kIoPrioWhoProcess, 0, kIoPrioClassIdle << kIoPrioClassShift);
}

}  // namespace

BackgroundThread::BackgroundThread() : thread_([this] { Work(); }) {}

BackgroundThread::~BackgroundThread() {
  {
    MutexLock lock(mutex_);
    stop_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void BackgroundThread::Run(const std::function<void()>& work) {
  MutexLock lock(mutex_);
  work_ = &work;
  changed_.NotifyAll();
  while (work_ != nullptr) changed_.Wait(mutex_);
}

void BackgroundThread::Hurry() {
  MutexLock lock(mutex_);
  if (work_ == nullptr || hurried_ || tid_ == 0) return;
  hurried_ = true;
  SetNice(tid_, 0);
}

void BackgroundThread::Work() {
  SetIdleIo();
  SetNice(gettid(), kNiceMax);
  MutexLock lock(mutex_);
  tid_ = gettid();
  while (true) {
    while (work_ == nullptr && !stop_) changed_.Wait(mutex_);
    if (work_ == nullptr) return;
    const std::function<void()>& work = *work_;
    mutex_.Unlock();
    work();
    mutex_.Lock();
    if (hurried_) SetNice(tid_, kNiceMax);
    hurried_ = false;
    work_ = nullptr;
    changed_.NotifyAll();
  }
}

}  // namespace varve
