// Turns signals into calls on a thread of its own, where locks may be taken.
//
// Threads: the handler runs on the watcher's thread.
#pragma once

#include <csignal>
#include <functional>
#include <thread>

namespace varve {

// SIGTERM, SIGINT, SIGHUP and the one the watcher stops itself with.
sigset_t WatchedSignals();
// Blocks them for the calling thread and all it starts.
void BlockWatchedSignals();

class SignalWatcher {
 public:
  // REQUIRES: BlockWatchedSignals() was called before any thread was started.
  explicit SignalWatcher(std::function<void(int)> handler);
  ~SignalWatcher();
  SignalWatcher(const SignalWatcher&) = delete;
  SignalWatcher& operator=(const SignalWatcher&) = delete;

 private:
  std::thread thread_;
};

}  // namespace varve
