#include "tests/support/store_editor.h"

#include <cstdio>
#include <cstdlib>

#include "fs/core/superblock.h"

namespace varve::testing {
namespace {

[[noreturn]] void Die(const std::string& what, const Status& status) {
  std::fprintf(stderr, "store editor: %s: %s\n", what.c_str(), status.ToString().c_str());
  std::abort();
}
void Must(const std::string& what, const Status& status) {
  if (!status.ok()) Die(what, status);
}
template <typename T>
T Must(const std::string& what, Result<T> result) {
  if (!result.ok()) Die(what, result.status());
  return *std::move(result);
}

}  // namespace

StoreEditor::StoreEditor(const std::string& store_path) {
  disk_ = Must(store_path, PosixDisk::Open(store_path));
  const Superblock superblock =
      Must(store_path, ReadSuperblock(*disk_, kSuperblockPath, store_path));
  fingerprinter_ = std::make_unique<Fingerprinter>(superblock.secret);
  rows_ = Must(store_path, OpenLmdb(store_path + "/index"));
  catalog_ = Must(store_path, OpenCatalog(*rows_, *disk_, "log", CatalogOptions()));
  tree_ = std::make_unique<Tree>(*catalog_, *fingerprinter_, clock_);
}

StoreEditor::~StoreEditor() { Must("commit", catalog_->Commit({})); }

void StoreEditor::Apply(const Batch& batch) { Must("apply", catalog_->Apply(batch)); }

void StoreEditor::Put(std::string key, std::string value) {
  Batch batch;
  batch.Put(std::move(key), std::move(value));
  Apply(batch);
}

void StoreEditor::Delete(std::string key) {
  Get(key);
  Batch batch;
  batch.Delete(std::move(key));
  Apply(batch);
}

void StoreEditor::DeleteAll(const key::Range& range) {
  Batch batch;
  Must("scan", catalog_->Scan(range.begin, range.end, [&](std::string_view key, std::string_view) {
    batch.Delete(std::string(key));
    return true;
  }));
  if (batch.empty()) Die("delete all", Status(Code::kNotFound));
  Apply(batch);
}

std::string StoreEditor::Get(const std::string& key) {
  const std::optional<std::string> row = Must("get", catalog_->Get(key));
  if (!row) Die("get", Status(Code::kNotFound, key));
  return *row;
}

StoreEditor::Found StoreEditor::Find(const std::string& path) {
  Found found;
  found.entry.record.inode = kRootNode;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    found.parent = found.entry.record.inode;
    std::optional<NamedEntry> entry =
        Must(path, tree_->Find(found.parent, path.substr(at, end - at)));
    if (!entry) Die(path, Status(Code::kNotFound));
    found.entry = *std::move(entry);
    at = end + 1;
  }
  return found;
}

InodeNumber StoreEditor::Inode(const std::string& path) { return Find(path).entry.record.inode; }
uint64_t StoreEditor::Slot(const std::string& path) { return Find(path).entry.slot; }
ContentId StoreEditor::Content(const std::string& path) {
  return Must(path, tree_->Inode(Inode(path))).content;
}
StageId StoreEditor::StageOf(const std::string& path) {
  return Must(path, tree_->Content(Content(path))).stage;
}

std::string StoreEditor::FirstChunkKey(const std::string& path) {
  const std::optional<RecipeSegment> segment = Must(path, FindSegment(*catalog_, Content(path), 0));
  return key::Chunk(segment->pieces.front().id);
}

Result<ChunkLocation> StoreEditor::Location(const std::string& chunk_key) {
  return DecodeLocation(Get(chunk_key));
}

ContentId StoreEditor::ContentOfVersion(HistoryId history, const std::string& name,
                                        VersionNumber number) {
  return Must(name, VersionRecord::Decode(Get(key::Version(history, name, number)))).content;
}

void StoreEditor::ChangeInode(const std::string& path,
                              const std::function<void(InodeRecord&)>& change) {
  InodeRecord record = Must(path, tree_->Inode(Inode(path)));
  change(record);
  Put(key::Inode(Inode(path)), record.Encode());
}

void StoreEditor::ChangeContent(const std::string& path,
                                const std::function<void(ContentRecord&)>& change) {
  ContentRecord record = Must(path, tree_->Content(Content(path)));
  change(record);
  Put(key::Content(Content(path)), record.Encode());
}

void StoreEditor::ChangeVersion(HistoryId history, const std::string& name, VersionNumber number,
                                const std::function<void(VersionRecord&)>& change) {
  const std::string key = key::Version(history, name, number);
  VersionRecord record = Must(name, VersionRecord::Decode(Get(key)));
  change(record);
  Put(key, record.Encode());
}

void StoreEditor::DeleteName(const std::string& path) {
  const Found found = Find(path);
  Delete(key::Dirent(found.parent, found.entry.slot));
}

void StoreEditor::PutName(InodeNumber parent, const std::string& name, InodeNumber inode,
                          mode_t type) {
  PutNameAt(parent, Must(name, tree_->SlotForNew(parent, name)), name, inode, type);
}

void StoreEditor::PutNameAt(InodeNumber parent, uint64_t slot, const std::string& name,
                            InodeNumber inode, mode_t type) {
  Batch batch;
  Tree::PutName(parent, slot, {inode, type, name}, &batch);
  Apply(batch);
}

void StoreEditor::MoveName(const std::string& path, uint64_t slots) {
  const Found found = Find(path);
  Delete(key::Dirent(found.parent, found.entry.slot));
  PutNameAt(found.parent, found.entry.slot + slots, found.entry.record.name,
            found.entry.record.inode, found.entry.record.type);
}

}  // namespace varve::testing
