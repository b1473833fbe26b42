#include "fs/core/content_verdict.h"

#include <unistd.h>

#include <algorithm>

namespace varve {
namespace {

class ReaderSource final : public SparseSource {
 public:
  explicit ReaderSource(ContentReader& reader) : reader_(reader) {}
  uint64_t size_bytes() const override { return reader_.size_bytes(); }
  Result<size_t> ReadAt(uint64_t offset, MutableBytes out) override {
    const uint64_t left = size_bytes() - std::min(offset, size_bytes());
    const MutableBytes there = out.first(std::min<uint64_t>(out.size(), left));
    RETURN_IF_ERROR(reader_.ReadInto(offset, there));
    return there.size();
  }
  Result<uint64_t> Seek(uint64_t offset, int whence) override {
    return reader_.Seek(offset, whence);
  }

 private:
  ContentReader& reader_;
};

// Bytes of a hole that reaches to the end; 0 if there is none.
Result<uint64_t> HoleAtEnd(SparseSource& source) {
  const uint64_t size = source.size_bytes();
  uint64_t hole = 0;
  while (hole < size) {
    ASSIGN_OR_RETURN(hole, source.Seek(hole, SEEK_HOLE));
    if (hole >= size) return uint64_t{0};
    const Result<uint64_t> data = source.Seek(hole, SEEK_DATA);
    if (data.status().os_errno() == ENXIO) return size - hole;
    RETURN_IF_ERROR(data.status());
    hole = *data;
  }
  return uint64_t{0};
}

}  // namespace

Result<Completeness> JudgeContent(SparseSource& source) {
  ASSIGN_OR_RETURN(Completeness verdict, CheckCompleteness(source));
  if (verdict.format != ContentFormat::kSafetensors || !verdict.complete) return verdict;
  ASSIGN_OR_RETURN(const uint64_t missing, HoleAtEnd(source));
  if (missing == 0) return verdict;
  verdict.complete = false;
  verdict.reason = "its last " + std::to_string(missing) + " bytes were never written";
  return verdict;
}

void JudgeByName(std::string_view name, Completeness* verdict) {
  if (verdict->format != ContentFormat::kPlain || !name.ends_with(".safetensors")) return;
  // Too short to be recognised, or its size was promised before its header came.
  verdict->complete = false;
  verdict->reason = "it is named .safetensors and has no safetensors header";
}

Status AddVerdict(VersionReader& contents, ContentId content, std::string_view name,
                  ContentRecord* record) {
  if (content == 0 || !record->captured || record->stored || record->torn) return Status();
  ASSIGN_OR_RETURN(const auto reader,
                   contents.OpenContent(content, record->size_bytes, std::string(name)));
  ReaderSource source(*reader);
  ASSIGN_OR_RETURN(Completeness verdict, JudgeContent(source));
  JudgeByName(name, &verdict);
  record->format = verdict.format;
  record->complete = verdict.complete;
  record->incomplete_reason = std::move(verdict.reason);
  return Status();
}

}  // namespace varve
