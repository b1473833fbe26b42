// The third part of PackWriter: the reserve, on a disk that is full.

#include <algorithm>

#include "store/pack/pack_limits.h"
#include "store/pack/pack_writer.h"

namespace varve {

void PackWriter::KeepReserve(uint64_t bytes) {
  {
    MutexLock append(append_mutex_);
    reserve_wanted_ = bytes;
  }
  RefillReserve();
}

void PackWriter::RefillReserve() {
  MutexLock append(append_mutex_);
  if (reserve_wanted_ > 0) reserve_.Fill(reserve_wanted_);
  LeaveReserve();
}

bool PackWriter::DropReserve() {
  MutexLock append(append_mutex_);
  return reserve_.Drop();
}

uint64_t PackWriter::reserve_bytes(RoomFor room) {
  MutexLock append(append_mutex_);
  return ReserveFor(room);
}

uint64_t PackWriter::ReserveFor(RoomFor room) {
  const uint64_t all = ReserveLeft() + reserve_.bytes();
  switch (room) {
    case RoomFor::kContent:
      return 0;
    case RoomFor::kUpkeep:
      return all - std::min(all, reserve_wanted_ / 2);
    case RoomFor::kCollection:
      return all;
  }
  return 0;
}

uint64_t PackWriter::ReserveLeft() {
  if (current_ == nullptr || !current_->reserved) return 0;
  return current_->allocated - AlignUp(current_->end, kBlockBytes);
}

Status PackWriter::EnterReserve() {
  // No journal may come into a pack before this one any more.
  if (current_ != nullptr) CloseCurrent();
  const uint64_t bytes = reserve_.bytes();
  RETURN_IF_ERROR(
      StartPack(reserve_.BecomeFile(path_ + "/" + PackFileName(next_pack_), {.direct = true})));
  current_->allocated = bytes;
  current_->reserved = true;
  return {};
}

void PackWriter::LeaveReserve() {
  if (current_ == nullptr || !current_->reserved) return;
  if (reserve_.Fill(reserve_wanted_)) CloseCurrent();
}

Status PackWriter::TakeReserve(uint64_t record_bytes, RoomFor room) {
  const uint64_t needed = AlignUp(record_bytes, kBlockBytes) + kBlockBytes;
  if (ReserveFor(room) < needed) return Status(Code::kNoSpace, "no space for a pack");
  // What was filled up meanwhile goes on where this one ends.
  if (ReserveLeft() < needed || current_->end + needed > kPackBytesTargetMax) {
    if (reserve_.bytes() < needed) return Status(Code::kNoSpace, "no space for a pack");
    return EnterReserve();
  }
  return {};
}

}  // namespace varve
