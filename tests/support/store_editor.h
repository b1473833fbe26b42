// Changes rows of a store that nobody has open, as no program would: for damaging it.
//
// Threads: one. What was changed is committed when the editor is destroyed, and no
//          journal tells of it.
// Errors:  end the program.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "fs/core/content_recipe.h"
#include "fs/core/extent_map.h"
#include "fs/core/records.h"
#include "fs/core/tree.h"
#include "store/base/posix_disk.h"

namespace varve::testing {

class StoreEditor {
 public:
  explicit StoreEditor(const std::string& store_path);
  ~StoreEditor();
  StoreEditor(const StoreEditor&) = delete;
  StoreEditor& operator=(const StoreEditor&) = delete;

  void Apply(const Batch& batch);
  void Put(std::string key, std::string value);
  void Delete(std::string key);
  void DeleteAll(const key::Range& range);
  std::string Get(const std::string& key);

  // Of a path; it must be there.
  InodeNumber Inode(const std::string& path);
  uint64_t Slot(const std::string& path);
  ContentId Content(const std::string& path);
  StageId StageOf(const std::string& path);
  std::string FirstChunkKey(const std::string& path);
  Result<ChunkLocation> Location(const std::string& chunk_key);
  ContentId ContentOfVersion(HistoryId history, const std::string& name, VersionNumber number);

  void ChangeInode(const std::string& path, const std::function<void(InodeRecord&)>& change);
  void ChangeContent(const std::string& path, const std::function<void(ContentRecord&)>& change);
  void ChangeVersion(HistoryId history, const std::string& name, VersionNumber number,
                     const std::function<void(VersionRecord&)>& change);
  // Entries alone, without what belongs to them.
  void DeleteName(const std::string& path);
  void PutName(InodeNumber parent, const std::string& name, InodeNumber inode, mode_t type);
  void PutNameAt(InodeNumber parent, uint64_t slot, const std::string& name, InodeNumber inode,
                 mode_t type);
  // To another slot.
  void MoveName(const std::string& path, uint64_t slots);

 private:
  struct Found {
    InodeNumber parent = 0;
    NamedEntry entry;
  };
  Found Find(const std::string& path);

  SystemClock clock_;
  std::unique_ptr<PosixDisk> disk_;
  std::unique_ptr<Fingerprinter> fingerprinter_;
  std::unique_ptr<KeyValueStore> rows_;
  std::unique_ptr<Catalog> catalog_;
  std::unique_ptr<Tree> tree_;
};

}  // namespace varve::testing
