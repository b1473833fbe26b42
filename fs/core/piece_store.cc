#include "fs/core/piece_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

namespace varve {

// Its bytes are read up to the end of the piece.
struct PieceStore::Next final : public ContentSource {
  ContentId content = 0;
  ContentRecord record;
  std::shared_ptr<File> stage;
  std::shared_ptr<OverlayBody> overlay;  // null: all bytes are in the staging file
  DigestBase difference;                 // what the staging file holds, and what it lies upon
  struct stat stat {};
  uint64_t end_bytes = 0;    // what the staging file holds before goes; 0: there is no piece
  uint64_t piece_bytes = 0;  // the piece's own size: what shows behind `end_bytes` belongs to it
  ContentId piece = 0;
  Digested digested;
  bool leased = false;
  const std::function<bool()>* cancelled = nullptr;

  uint64_t size_bytes() const override { return piece_bytes; }
  bool is_piece() const override { return true; }
  Result<ByteRange> NextData(uint64_t offset) override {
    Result<uint64_t> begin = Seek(offset, SEEK_DATA);
    if (!begin.ok() && begin.status().os_errno() == ENXIO)
      return ByteRange{piece_bytes, piece_bytes};
    RETURN_IF_ERROR(begin.status());
    ASSIGN_OR_RETURN(const uint64_t end, Seek(*begin, SEEK_HOLE));
    return ByteRange{std::min(*begin, piece_bytes), std::min(end, piece_bytes)};
  }
  Result<uint64_t> Seek(uint64_t offset, int whence) {
    return overlay ? overlay->Seek(offset, whence) : stage->Seek(offset, whence);
  }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    if (!overlay) return stage->ReadAt(offset, out);
    RETURN_IF_ERROR(overlay->ReadInto(offset, out));
    return out.size();
  }
  bool Cancelled() override { return (*cancelled)() || (leased && !stage->LeaseHolds()); }
};

namespace {

// Collections wait for digests that run.
constexpr uint64_t kPiecesAtOnce = 16;
// Headers, journals and padding.
constexpr uint64_t kOverheadShare = 8;

Status Used() { return Status(Code::kBusy, "somebody uses the content"); }

// Where the ranges have held so much data; 0 if it is less.
Result<uint64_t> EndOf(File& stage, const std::vector<ByteRange>& ranges, uint64_t bytes) {
  for (const ByteRange& range : ranges) {
    for (uint64_t at = range.begin; at < range.end;) {
      const Result<uint64_t> data = stage.Seek(at, SEEK_DATA);
      if (!data.ok() && data.status().os_errno() == ENXIO) return 0;
      RETURN_IF_ERROR(data.status());
      if (*data >= range.end) break;
      ASSIGN_OR_RETURN(const uint64_t hole, stage.Seek(*data, SEEK_HOLE));
      const uint64_t end = std::min(hole, range.end);
      if (end - *data >= bytes) return *data + bytes;
      bytes -= end - *data;
      at = end;
    }
  }
  return 0;
}

}  // namespace

Status PieceStore::Run(ContentId content, const Options& options, uint64_t* pieces) {
  RETURN_IF_ERROR(MakeDurable(content));
  while (true) {
    Next next;
    RETURN_IF_ERROR(Open(content, options, &next));
    if (next.end_bytes == 0) return Status();
    // One that ends early would only take the room of the next try.
    if (options.room_bytes() < options.piece_bytes + options.piece_bytes / kOverheadShare)
      return Status(Code::kNoSpace, "no space for a piece");
    Status digested;
    options.run([&] { digested = Digest(options, &next); });
    if (std::exchange(next.leased, false)) next.stage->DropLease();
    RETURN_IF_ERROR(digested);
    Status turned = d_.contents.Sync();
    {
      MutexLock lock(d_.tree.mutex());
      if (turned.ok()) turned = TurnLocked(&next);
      d_.contents.Forget(next.digested.new_chunks);
    }
    RETURN_IF_ERROR(turned);
    ++*pieces;
    RETURN_IF_ERROR(d_.commit());
    RETURN_IF_ERROR(Punch(&next));
    if (*pieces == kPiecesAtOnce) return Status(Code::kBusy, "it goes on in a moment");
  }
}

// A power cut that finds an overlay of a piece must not look for anything else.
Status PieceStore::MakeDurable(ContentId content) {
  ASSIGN_OR_RETURN(const ContentRecord record, d_.tree.Content(content));
  RETURN_IF_ERROR(d_.files.FlushPending(content));
  RETURN_IF_ERROR(d_.stages.SyncName(record.stage));
  MutexLock lock(d_.tree.mutex());
  return d_.files.MarkDurableLocked(content, record.stage);
}

Status PieceStore::Open(ContentId content, const Options& options, Next* next) {
  next->content = content;
  next->cancelled = &options.cancelled;
  ASSIGN_OR_RETURN(next->record, d_.tree.Content(content));
  if (next->record.stored || next->record.stage == 0) return Status();
  {
    MutexLock lock(d_.tree.mutex());
    const std::shared_ptr<OpenFile> file = d_.files.FindLocked(next->record.inode);
    if (file && file->content == content) return Used();
  }
  if (next->record.overlay) {
    ASSIGN_OR_RETURN(next->overlay, d_.files.OpenOverlay(content, next->record, OpenMode::kRead));
    next->stage = next->overlay->stage();
    next->difference = next->overlay->Difference();
  } else {
    ASSIGN_OR_RETURN(next->stage, d_.stages.Open(next->record.stage, OpenMode::kRead));
    const Status lease = next->stage->AcquireLease();
    if (lease.code() == Code::kBusy) return lease;
    next->leased = lease.ok();
  }
  ASSIGN_OR_RETURN(next->stat, next->stage->Stat());
  const uint64_t size = static_cast<uint64_t>(next->stat.st_size);
  if (size != next->record.size_bytes) return Used();
  if (!next->overlay) next->difference.changed = {{0, size}};
  ASSIGN_OR_RETURN(next->end_bytes,
                   EndOf(*next->stage, next->difference.changed, options.piece_bytes));
  next->piece_bytes = std::max(next->end_bytes, std::min(next->difference.valid_bytes, size));
  return Status();
}

Status PieceStore::Digest(const Options& options, Next* next) {
  if (options.cancelled()) return Status(Code::kBusy, "the digest was cancelled");
  ASSIGN_OR_RETURN(next->piece, d_.tree.NewId());
  std::optional<DigestBase> base;
  if (next->overlay) {
    base.emplace(next->difference);
    base->changed.clear();
    for (const ByteRange& range : next->difference.changed) {
      const uint64_t end = std::min(range.end, next->end_bytes);
      if (range.begin < end) base->changed.push_back({range.begin, end});
    }
  }
  ASSIGN_OR_RETURN(next->digested, d_.contents.Digest(*next, next->piece, base));
  return Status();
}

Status PieceStore::TurnLocked(Next* next) {
  Batch batch;
  const Status turned = [&]() -> Status {
    ASSIGN_OR_RETURN(ContentRecord record, d_.tree.Content(next->content));
    const ContentRecord& before = next->record;
    if (record.stored || !record.durable || record.stage != before.stage ||
        record.overlay != before.overlay || record.base != before.base)
      return Used();
    const std::shared_ptr<OpenFile> file = d_.files.FindLocked(record.inode);
    if ((file && file->content == next->content) || d_.files.IsFlushedLocked(next->content))
      return Used();
    // Ours are not to count.
    next->overlay.reset();
    next->stage.reset();
    ASSIGN_OR_RETURN(next->stage, d_.stages.Open(record.stage, OpenMode::kReadWrite));
    ASSIGN_OR_RETURN(const struct stat now, next->stage->Stat());
    if (!next->stage->IsUsedAlone() || !(Stamp::Of(now) == Stamp::Of(next->stat))) return Used();

    ContentRecord piece;
    piece.captured = piece.stored = piece.durable = true;
    piece.size_bytes = next->piece_bytes;
    piece.inode = record.inode;
    batch.Append(next->digested.batch);
    Tree::PutContent(next->piece, piece, &batch);
    record.replaced = record.falls_back_to();
    record.overlay = true;
    record.base = next->piece;
    Tree::PutContent(next->content, record, &batch);
    const key::Range rows = key::AllExtents(next->content);
    RETURN_IF_ERROR(d_.tree.catalog().Scan(rows.begin, rows.end,
                                           [&](std::string_view row_key, std::string_view) {
                                             batch.Delete(std::string(row_key));
                                             return true;
                                           }));
    batch.Put(key::Extent(next->content, key::kBaseShown), EncodeOffset(next->piece_bytes));
    for (const ByteRange& range : next->difference.changed) {
      const uint64_t begin = std::max(range.begin, next->end_bytes);
      if (begin < range.end) batch.Put(key::Extent(next->content, begin), EncodeOffset(range.end));
    }
    return d_.tree.Apply(batch);
  }();
  if (turned.ok()) return Status();
  // Its chunks are in packs, and another content may share them already.
  Batch chunks;
  for (const Batch::Change& change : next->digested.batch.changes())
    if (change.key[0] == key::kChunk) chunks.Put(change.key, *change.value);
  if (!chunks.empty()) RETURN_IF_ERROR(d_.tree.Apply(chunks));
  return turned;
}

// Who may have opened it since reads [0, end) from the piece.
Status PieceStore::Punch(Next* next) {
  ASSIGN_OR_RETURN(const struct stat before, next->stage->Stat());
  RETURN_IF_ERROR(
      next->stage->Allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, next->end_bytes));
  // The file's own times are those of its staging file.
  const struct timespec times[2] = {before.st_atim, before.st_mtim};
  RETURN_IF_ERROR(next->stage->SetTimes(times));
  ASSIGN_OR_RETURN(const struct stat after, next->stage->Stat());
  MutexLock lock(d_.tree.mutex());
  const std::shared_ptr<OpenFile> file = d_.files.FindLocked(next->record.inode);
  if (file && file->content == next->content && file->captured == Stamp::Of(before))
    file->captured = Stamp::Of(after);
  return Status();
}

}  // namespace varve
