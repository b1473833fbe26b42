#include "fs/core/store_index.h"

#include <vector>

namespace varve {
namespace {

Status Unusable(const std::string& store_path, const std::string& what) {
  return Status(Code::kCorrupt, "the index of " + store_path + " " + what +
                                    "; varve fsck --rebuild-index " + store_path +
                                    " makes it anew from the packs");
}

}  // namespace

// A new index for an old store would show an empty tree, and recovery would remove every
// staging file that the tree does not name.
Result<std::unique_ptr<KeyValueStore>> OpenStoreIndex(Disk& disk, const std::string& store_path,
                                                      bool read_only) {
  const Result<std::vector<std::string>> packs = disk.List("packs");
  const bool used = packs.ok() && !packs->empty();
  if (used && !disk.Stat("index/data.mdb").ok()) return Unusable(store_path, "is gone");
  Result<std::unique_ptr<KeyValueStore>> rows = OpenLmdb(store_path + "/index", read_only);
  if (!rows.ok()) return NameRemedy(rows.status(), store_path);
  bool empty = true;
  RETURN_IF_ERROR((*rows)->Scan("", "", [&](auto, auto) { return empty = false; }));
  if (used && empty) return Unusable(store_path, "is empty");
  return rows;
}

Status NameRemedy(const Status& status, const std::string& store_path) {
  if (status.code() != Code::kCorrupt) return status;
  return Unusable(store_path, "cannot be read (" + std::string(status.context()) + ")");
}

}  // namespace varve
