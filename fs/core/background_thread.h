// A thread for work that shall take no time from the users' programs.
//
// It runs with the lowest ordinary priority and the idle I/O class. So it must hold no
// lock that others wait for: it would be preempted with it, for as long as programs keep
// the processors busy. Who started it does what needs locks.
//
// Threads: Run() is called by one thread at a time, Hurry() by any.
#pragma once

#include <functional>
#include <thread>

#include "store/base/mutex.h"

namespace varve {

class BackgroundThread {
 public:
  BackgroundThread();
  ~BackgroundThread();
  BackgroundThread(const BackgroundThread&) = delete;
  BackgroundThread& operator=(const BackgroundThread&) = delete;

  // Runs `work` on the thread and returns when it is done.
  void Run(const std::function<void()>& work) EXCLUDES(mutex_);
  // Somebody waits for the present work: it goes on with normal priority. What an
  // ordinary user may not raise stays as it is.
  void Hurry() EXCLUDES(mutex_);

 private:
  void Work() EXCLUDES(mutex_);

  Mutex mutex_;
  CondVar changed_;
  const std::function<void()>* work_ GUARDED_BY(mutex_) = nullptr;
  bool stop_ GUARDED_BY(mutex_) = false;
  bool hurried_ GUARDED_BY(mutex_) = false;
  pid_t tid_ GUARDED_BY(mutex_) = 0;
  std::thread thread_;
};

}  // namespace varve
