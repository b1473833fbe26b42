// The KernelChannel over libfuse: backing files and invalidations.
//
// Invalidations wait in a queue; one thread that holds no lock delivers them,
// because the kernel may need answers from the daemon before it takes one. A
// node that waits is not queued twice.
//
// Life: Start() once the kernel's INIT is answered, Stop() before the session ends.
// Outside of that, backing files are refused and invalidations dropped: the
// kernel then knows nothing that could be stale.
//
// Threads: all methods may be called concurrently.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <unordered_set>

#include "fs/core/kernel_channel.h"
#include "store/base/mutex.h"

struct fuse_session;

namespace varve {

class KernelLink final : public KernelChannel {
 public:
  KernelLink() = default;
  ~KernelLink() override { Stop(); }
  KernelLink(const KernelLink&) = delete;
  KernelLink& operator=(const KernelLink&) = delete;

  // `on_refusal` gets the errno of the first backing file that the kernel refuses
  // because it never takes any; passthrough is off from then on. It runs on the
  // thread of the queue, so it may call the core.
  void Start(fuse_session* session, bool passthrough, std::function<void(int)> on_refusal);
  // Returns when nothing is being delivered any more. May be called again, and by
  // several threads at once: a signal may come while the session ends by itself.
  void Stop();

  int32_t RegisterBacking(int descriptor) override;
  void UnregisterBacking(int32_t backing_id) override;
  void InvalidateNode(NodeId node) override;
  void InvalidateName(NodeId parent, std::string name) override;

 private:
  struct Invalidation {
    NodeId node = 0;
    std::string name;  // "": the node itself
  };

  void Queue(Invalidation invalidation);
  void Refuse(int os_errno);
  void Run() noexcept;
  void Deliver(const Invalidation& invalidation);

  SharedMutex device_mutex_;                   // taken last
  int device_ GUARDED_BY(device_mutex_) = -1;  // of the session, while started
  std::atomic<bool> passthrough_{false};
  std::function<void(int)> on_refusal_;
  fuse_session* session_ = nullptr;

  Mutex stop_mutex_;  // taken first, and only by Stop(): one joins, the others wait

  Mutex mutex_;
  CondVar changed_;
  bool running_ GUARDED_BY(mutex_) = false;
  int refused_errno_ GUARDED_BY(mutex_) = 0;  // not told yet
  std::deque<Invalidation> queue_ GUARDED_BY(mutex_);
  std::unordered_set<NodeId> queued_nodes_ GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace varve
