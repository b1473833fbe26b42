#include "fs/fuse/kernel_link.h"

#include <sys/ioctl.h>

#include <utility>

#include "fs/fuse/libfuse.h"

namespace varve {
namespace {

// The kernel's interface (linux/fuse.h, protocol 7.40), which headers of older
// distributions lack. libfuse's own calls need a request at hand, and core drops
// backing files in the background too.
struct BackingMap {
  int32_t descriptor;
  uint32_t flags;
  uint64_t padding;
};
constexpr unsigned long kBackingOpen = _IOW(229, 1, BackingMap);
constexpr unsigned long kBackingClose = _IOW(229, 2, uint32_t);

// Refusals that any other file would meet as well.
bool IsLasting(int os_errno) {
  return os_errno == EPERM || os_errno == EOPNOTSUPP || os_errno == ENOTTY || os_errno == ELOOP;
}

}  // namespace

void KernelLink::Start(fuse_session* session, bool passthrough,
                       std::function<void(int)> on_refusal) {
  MutexLock lock(mutex_);
  if (running_) return;
  session_ = session;
  on_refusal_ = std::move(on_refusal);
  passthrough_ = passthrough;
  {
    WriterLock device_lock(device_mutex_);
    device_ = fuse_session_fd(session);
  }
  running_ = true;
  thread_ = std::thread([this] { Run(); });
}

void KernelLink::Stop() {
  MutexLock stop_lock(stop_mutex_);
  {
    MutexLock lock(mutex_);
    running_ = false;
    queue_.clear();
    queued_nodes_.clear();
  }
  changed_.NotifyAll();
  {
    WriterLock device_lock(device_mutex_);
    device_ = -1;
  }
  if (thread_.joinable()) thread_.join();
}

int32_t KernelLink::RegisterBacking(int descriptor) {
  ReaderLock device_lock(device_mutex_);
  if (device_ < 0 || !passthrough_) return 0;
  BackingMap map{descriptor, 0, 0};
  const int id = ioctl(device_, kBackingOpen, &map);
  if (id > 0) return id;
  const int os_errno = errno;
  if (IsLasting(os_errno) && passthrough_.exchange(false)) Refuse(os_errno);
  return 0;
}

void KernelLink::UnregisterBacking(int32_t backing_id) {
  ReaderLock device_lock(device_mutex_);
  if (device_ < 0 || backing_id <= 0) return;
  auto id = static_cast<uint32_t>(backing_id);
  // Fails only if the id is unknown, and then there is nothing to drop.
  static_cast<void>(ioctl(device_, kBackingClose, &id));
}

void KernelLink::InvalidateNode(NodeId node) { Queue({node, ""}); }

void KernelLink::InvalidateName(NodeId parent, std::string name) {
  Queue({parent, std::move(name)});
}

void KernelLink::Queue(Invalidation invalidation) {
  {
    MutexLock lock(mutex_);
    if (!running_) return;
    if (invalidation.name.empty() && !queued_nodes_.insert(invalidation.node).second) return;
    queue_.push_back(std::move(invalidation));
  }
  changed_.NotifyOne();
}

void KernelLink::Refuse(int os_errno) {
  {
    MutexLock lock(mutex_);
    refused_errno_ = os_errno;
  }
  changed_.NotifyOne();
}

void KernelLink::Run() noexcept {
  for (;;) {
    Invalidation next;
    int refused_errno = 0;
    {
      MutexLock lock(mutex_);
      while (running_ && queue_.empty() && refused_errno_ == 0) changed_.Wait(mutex_);
      if (!running_) return;
      refused_errno = std::exchange(refused_errno_, 0);
      if (!queue_.empty()) {
        next = std::move(queue_.front());
        queue_.pop_front();
        if (next.name.empty()) queued_nodes_.erase(next.node);
      }
    }
    if (refused_errno != 0) on_refusal_(refused_errno);
    if (next.node != 0) Deliver(next);
  }
}

// What the kernel does not know needs no invalidation: errors say just that.
void KernelLink::Deliver(const Invalidation& invalidation) {
  const NodeId node = invalidation.node;
  const std::string& name = invalidation.name;
  if (name.empty()) {
    fuse_lowlevel_notify_inval_inode(session_, node, 0, 0);
  } else {
    fuse_lowlevel_notify_inval_entry(session_, node, name.data(), name.size());
  }
}

}  // namespace varve
