#include "fs/cli/signal_watcher.h"

#include <pthread.h>

#include <utility>

namespace varve {
namespace {

constexpr int kStopWatching = SIGUSR2;

}  // namespace

sigset_t WatchedSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, kStopWatching}) sigaddset(&signals, number);
  return signals;
}

void BlockWatchedSignals() {
  const sigset_t signals = WatchedSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

SignalWatcher::SignalWatcher(std::function<void(int)> handler)
    : thread_([handler = std::move(handler)]() noexcept {
        const sigset_t signals = WatchedSignals();
        for (;;) {
          int number = 0;
          if (sigwait(&signals, &number) != 0) continue;
          if (number == kStopWatching) return;
          handler(number);
        }
      }) {}

SignalWatcher::~SignalWatcher() {
  pthread_kill(thread_.native_handle(), kStopWatching);
  thread_.join();
}

}  // namespace varve
