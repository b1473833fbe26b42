#include "fs/core/content_digest.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "fs/core/content_plan.h"
#include "store/format/tensor_regions.h"

namespace varve {
namespace {

// What is cut and compared at once, and the rest that waits for more bytes.
constexpr size_t kWindowBytes = (3u << 20) + kChunkBytesMax;
// What a cutter is chosen by.
constexpr size_t kFirstBytes = 64u << 10;

Status Changed() { return Status(Code::kBusy, "the content changed while it was digested"); }

// The run of data at or after `offset`, put together from what the source says.
Result<ByteRange> NextRun(ContentSource& source, uint64_t offset, uint64_t end) {
  ASSIGN_OR_RETURN(ByteRange run, source.NextData(offset));
  while (run.end > run.begin && run.end < end) {
    ASSIGN_OR_RETURN(const ByteRange next, source.NextData(run.end));
    if (next.begin != run.end || next.end <= next.begin) break;
    run.end = next.end;
  }
  if (run.begin < offset || run.end < run.begin)
    return Status(Code::kInvalid, "a source of content that goes backwards");
  run.begin = std::min(run.begin, end);
  run.end = run.end == run.begin ? end : std::min(run.end, end);
  return run;
}

// A content's bytes for who wants to know their format.
class ContentBytes final : public ByteSource {
 public:
  explicit ContentBytes(ContentSource& source) : source_(source) {}
  uint64_t size_bytes() const override { return source_.size_bytes(); }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    if (source_.Cancelled()) return Status(Code::kBusy, "the digest was cancelled");
    const uint64_t left = size_bytes() - std::min(offset, size_bytes());
    out = out.first(static_cast<size_t>(std::min<uint64_t>(out.size(), left)));
    return out.empty() ? size_t{0} : source_.ReadAt(offset, out);
  }

 private:
  ContentSource& source_;
};

}  // namespace

ContentDigester::ContentDigester(Catalog& catalog, PackStore& packs,
                                 const Fingerprinter& fingerprinter, InFlightChunks& in_flight)
    : catalog_(catalog),
      packs_(packs),
      fingerprinter_(fingerprinter),
      in_flight_(in_flight),
      intake_(catalog, packs, fingerprinter, in_flight),
      window_(std::make_unique_for_overwrite<uint8_t[]>(kWindowBytes)) {}

Result<Digested> ContentDigester::Run(ContentSource& source, ContentId content,
                                      const std::optional<DigestBase>& base) {
  // A piece gives back what it takes, a moment later.
  intake_.SetRoom(source.is_piece() ? RoomFor::kUpkeep : RoomFor::kContent);
  DigestLedger ledger(catalog_, packs_, in_flight_, content);
  RETURN_IF_ERROR(ledger.RemoveOldRows());
  Job job{source, ledger, nullptr};
  RETURN_IF_ERROR(RunAll(job, base));
  return ledger.Finish();
}

Status ContentDigester::RunAll(Job& job, const std::optional<DigestBase>& base) {
  const uint64_t size = job.source.size_bytes();
  if (size > kContentBytesMax) return Status(Code::kInvalid, "the content is too large");
  if (size == 0) return {};
  ASSIGN_OR_RETURN(job.cutter, Choose(job));
  if (!base) return CutSpan(job, {0, size});

  RecipeCursor recipe(catalog_, base->content);
  ASSIGN_OR_RETURN(std::vector<ByteRange> cuts, PlanCuts(recipe, *base, size));
  cuts.push_back({size, size});
  for (const ByteRange& cut : cuts) {
    RETURN_IF_ERROR(Reuse(job, recipe, {job.ledger.end_bytes(), cut.begin}));
    RETURN_IF_ERROR(CutSpan(job, cut));
  }
  return {};
}

Result<std::unique_ptr<Cutter>> ContentDigester::Choose(Job& job) {
  ASSIGN_OR_RETURN(std::unique_ptr<Cutter> cutter, CutTensors(job));
  if (cutter != nullptr) return cutter;
  const uint64_t size = job.source.size_bytes();
  const MutableBytes first(window_.get(),
                           static_cast<size_t>(std::min<uint64_t>(size, kFirstBytes)));
  RETURN_IF_ERROR(Fill(job.source, 0, first));
  return ChooseCutter(size, first);
}

Result<std::unique_ptr<Cutter>> ContentDigester::CutTensors(Job& job) {
  // The beginning of a file does not say what its end would.
  if (job.source.is_piece()) return std::unique_ptr<Cutter>();
  ContentBytes bytes(job.source);
  ASSIGN_OR_RETURN(const TensorMap map, ReadTensorMap(bytes));
  if (map.tensors.empty()) return std::unique_ptr<Cutter>();
  TensorHead head;
  head.signature = SignatureOf(map, fingerprinter_);
  head.architecture = ArchitectureOf(map, fingerprinter_);
  ASSIGN_OR_RETURN(head.sketch, SketchOf(map, bytes));
  RETURN_IF_ERROR(job.ledger.PutTensorMap(map, std::move(head)));
  return MakeRegionCutter(RegionsOf(map), MakeContentCutter());
}

Status ContentDigester::Reuse(Job& job, RecipeCursor& recipe, ByteRange range) {
  while (range.begin < range.end) {
    ASSIGN_OR_RETURN(const PlacedPiece placed, recipe.At(range.begin));
    const uint64_t end = std::min(placed.end_bytes(), range.end);
    if (placed.piece.hole()) {
      RETURN_IF_ERROR(job.ledger.AddHole(end - range.begin));
    } else {
      CHECK(placed.begin_bytes == range.begin && placed.end_bytes() == end);
      RETURN_IF_ERROR(job.ledger.AddShared(placed.piece.id, placed.piece.size_bytes));
    }
    range.begin = end;
  }
  return {};
}

Status ContentDigester::CutSpan(Job& job, ByteRange span) {
  while (span.begin < span.end) {
    if (job.source.Cancelled()) return Status(Code::kBusy, "the digest was cancelled");
    ASSIGN_OR_RETURN(const ByteRange run, NextRun(job.source, span.begin, span.end));
    if (run.begin > span.begin) RETURN_IF_ERROR(job.ledger.AddHole(run.begin - span.begin));
    RETURN_IF_ERROR(CutData(job, run));
    span.begin = run.end;
  }
  return {};
}

Status ContentDigester::CutData(Job& job, ByteRange data) {
  uint64_t read_end = data.begin;  // of the content
  size_t filled = 0;               // of the window; it ends at `read_end`
  while (filled > 0 || read_end < data.end) {
    const size_t more =
        static_cast<size_t>(std::min<uint64_t>(kWindowBytes - filled, data.end - read_end));
    RETURN_IF_ERROR(Fill(job.source, read_end, {window_.get() + filled, more}));
    filled += more;
    read_end += more;

    chunks_.clear();
    size_t cut = 0;
    while (cut < filled && (read_end == data.end || filled - cut >= kChunkBytesMax)) {
      const ByteView rest(window_.get() + cut, filled - cut);
      const uint32_t size = job.cutter->Next(read_end - rest.size(), rest);
      CHECK(size >= 1 && size <= rest.size() && size <= kChunkBytesMax);
      chunks_.push_back({rest.first(size), job.cutter->ElementsAt(read_end - rest.size())});
      cut += size;
    }
    RETURN_IF_ERROR(intake_.Take(chunks_, job.ledger, [&] { return job.source.Cancelled(); }));
    std::memmove(window_.get(), window_.get() + cut, filled - cut);
    filled -= cut;
  }
  return {};
}

Status ContentDigester::Fill(ContentSource& source, uint64_t offset, MutableBytes out) {
  if (out.empty()) return {};
  ASSIGN_OR_RETURN(const size_t got, source.ReadAt(offset, out));
  return got == out.size() ? Status() : Changed();
}

}  // namespace varve
