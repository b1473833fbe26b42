// Mutexes with Clang thread-safety annotations. Elsewhere the annotations vanish.
//
// Each stateful class says which member is guarded by which mutex; the lock
// order between classes is stated once, in docs/ARCHITECTURE.md.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <shared_mutex>

#if defined(__clang__)
#define VARVE_ANNOTATE(x) __attribute__((x))
#else
#define VARVE_ANNOTATE(x)
#endif

#define CAPABILITY(x) VARVE_ANNOTATE(capability(x))
#define SCOPED_CAPABILITY VARVE_ANNOTATE(scoped_lockable)
#define GUARDED_BY(x) VARVE_ANNOTATE(guarded_by(x))
#define REQUIRES(...) VARVE_ANNOTATE(requires_capability(__VA_ARGS__))
#define REQUIRES_SHARED(...) VARVE_ANNOTATE(requires_shared_capability(__VA_ARGS__))
#define EXCLUDES(...) VARVE_ANNOTATE(locks_excluded(__VA_ARGS__))
#define ACQUIRE(...) VARVE_ANNOTATE(acquire_capability(__VA_ARGS__))
#define ACQUIRE_SHARED(...) VARVE_ANNOTATE(acquire_shared_capability(__VA_ARGS__))
#define RELEASE(...) VARVE_ANNOTATE(release_capability(__VA_ARGS__))
#define RELEASE_SHARED(...) VARVE_ANNOTATE(release_shared_capability(__VA_ARGS__))
#define RELEASE_GENERIC(...) VARVE_ANNOTATE(release_generic_capability(__VA_ARGS__))
#define NO_THREAD_SAFETY_ANALYSIS VARVE_ANNOTATE(no_thread_safety_analysis)

namespace varve {

class CAPABILITY("mutex") Mutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~MutexLock() RELEASE() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

// Waits release the mutex and take it again before they return; they may wake
// without cause, so callers loop on their condition.
class CondVar {
 public:
  void Wait(Mutex& mutex) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    condition_.wait(lock);
    lock.release();
  }
  // False on timeout.
  bool WaitFor(Mutex& mutex, std::chrono::nanoseconds timeout) REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const bool woken = condition_.wait_for(lock, timeout) == std::cv_status::no_timeout;
    lock.release();
    return woken;
  }
  void NotifyOne() { condition_.notify_one(); }
  void NotifyAll() { condition_.notify_all(); }

 private:
  std::condition_variable condition_;
};

class CAPABILITY("shared_mutex") SharedMutex {
 public:
  void Lock() ACQUIRE() { mutex_.lock(); }
  void Unlock() RELEASE() { mutex_.unlock(); }
  void LockShared() ACQUIRE_SHARED() { mutex_.lock_shared(); }
  void UnlockShared() RELEASE_SHARED() { mutex_.unlock_shared(); }

 private:
  std::shared_mutex mutex_;
};

class SCOPED_CAPABILITY WriterLock {
 public:
  explicit WriterLock(SharedMutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.Lock(); }
  ~WriterLock() RELEASE() { mutex_.Unlock(); }
  WriterLock(const WriterLock&) = delete;
  WriterLock& operator=(const WriterLock&) = delete;

 private:
  SharedMutex& mutex_;
};

class SCOPED_CAPABILITY ReaderLock {
 public:
  explicit ReaderLock(SharedMutex& mutex) ACQUIRE_SHARED(mutex) : mutex_(mutex) {
    mutex_.LockShared();
  }
  ~ReaderLock() RELEASE_GENERIC() { mutex_.UnlockShared(); }
  ReaderLock(const ReaderLock&) = delete;
  ReaderLock& operator=(const ReaderLock&) = delete;

 private:
  SharedMutex& mutex_;
};

}  // namespace varve
