#include "store/pack/write_queue.h"

#include <cerrno>

#include "store/pack/pack_format.h"
#include "store/pack/pack_limits.h"

namespace varve {

bool WriteQueue::Submit(const Write& write) {
  if (ring_ == nullptr || broken_ || write.file->descriptor() < 0) return false;
  if (started_.size() >= kWritesInFlightMax) return false;
  ring_->PrepareWrite({write.file->descriptor(), write.offset, write.buffer, write.tag},
                      write.bytes);
  // What the kernel did not take stays queued in the ring for ever: it is used no
  // more, and this write goes the other way.
  broken_ = !ring_->Submit().ok();
  return !broken_;
}

std::optional<WriteQueue::Finished> WriteQueue::Start(Write write) {
  {
    MutexLock lock(mutex_);
    started_.emplace(write.tag, write);
    if (Submit(write)) return std::nullopt;
    started_.erase(write.tag);
  }
  return Finished{write.tag, write.file->WriteAt(write.offset, write.bytes)};
}

WriteQueue::Finished WriteQueue::Await() {
  const Result<Ring::Completion> completion = ring_->Wait();
  // Without completions nobody knows which memory the kernel still reads.
  CHECK(completion.ok());
  Write write;
  {
    MutexLock lock(mutex_);
    const auto found = started_.find(completion->tag);
    CHECK(found != started_.end());
    write = std::move(found->second);
    started_.erase(found);
  }
  const int result = completion->result;
  if (result == -EAGAIN || result == -EINTR) {
    return {write.tag, write.file->WriteAt(write.offset, write.bytes)};
  }
  if (result < 0) return {write.tag, Status::Errno(-result, "write to a pack")};
  // A short write, as when the disk filled up on the way: the rest once more, from
  // a whole block, so that its own error comes out.
  const auto done = static_cast<size_t>(result);
  if (done >= write.bytes.size()) return {write.tag, Status()};
  const size_t good = static_cast<size_t>(AlignDown(done, kBlockBytes));
  return {write.tag, write.file->WriteAt(write.offset + good, write.bytes.subspan(good))};
}

}  // namespace varve
