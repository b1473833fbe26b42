#include "tests/support/content_fixture.h"

namespace varve::testing {

ContentFixture::ContentFixture(const ContentStoreOptions& options)
    : store_(MakeContentStore(catalog_, packs_, fingerprinter_, options)) {}

Result<Digested> ContentFixture::Store(ContentSource& source, ContentId content,
                                       const std::optional<DigestBase>& base) {
  Result<Digested> digested = store_->Digest(source, content, base);
  if (digested.ok()) RETURN_IF_ERROR(Commit(*digested));
  return digested;
}

Result<Digested> ContentFixture::Store(const std::string& bytes, ContentId content) {
  TestSource source(bytes);
  return Store(source, content);
}

Status ContentFixture::Commit(const Digested& digested) {
  RETURN_IF_ERROR(store_->Sync());
  RETURN_IF_ERROR(catalog_.Apply(digested.batch));
  store_->Forget(digested.new_chunks);
  return {};
}

std::shared_ptr<ContentReader> ContentFixture::Open(ContentId content, uint64_t size) {
  return store_->OpenReader(content, size, "test").value();
}

Result<std::string> ContentFixture::ReadAll(ContentId content, uint64_t size) {
  std::string bytes(static_cast<size_t>(size), '?');
  RETURN_IF_ERROR(
      Open(content, size)->ReadInto(0, {reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

std::vector<Piece> ContentFixture::Pieces(ContentId content) {
  std::vector<Piece> pieces;
  const key::Range rows = key::AllRecipe(content);
  const Status status =
      catalog_.Scan(rows.begin, rows.end, [&](std::string_view row, std::string_view value) {
        const Result<RecipeSegment> segment = DecodeSegment(key::Offset(row), value);
        pieces.insert(pieces.end(), segment->pieces.begin(), segment->pieces.end());
        return true;
      });
  CHECK(status.ok());
  return pieces;
}

std::optional<ChunkLocation> ContentFixture::Locate(const ChunkId& id) {
  return FindLocation(catalog_, id).value();
}

std::string Flat(const ReadReply& reply) {
  std::string bytes;
  for (const ByteView part : reply.parts) bytes.append(AsText(part));
  return bytes;
}

}  // namespace varve::testing
