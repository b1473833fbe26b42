#include "fs/core/fsck_history.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "fs/core/directory_history.h"

namespace varve {
namespace {

class HistoryCheck {
 public:
  explicit HistoryCheck(FsckContext& context) : context_(context) {}

  Status Run() {
    RETURN_IF_ERROR(ScanNames());
    RETURN_IF_ERROR(ScanVersions());
    RETURN_IF_ERROR(ScanPins());
    RETURN_IF_ERROR(ScanClones());
    RETURN_IF_ERROR(CheckMoment());
    RETURN_IF_ERROR(RaiseCounters());
    if (!context_.repair()) return Status();
    return context_.ApplyAll(dropped_);
  }

 private:
  struct List {
    std::string name_row;
    VersionNumber last = 0;  // as the name's record says
    VersionNumber highest = 0;
  };

  Status ScanNames() {
    return context_.ScanTable(key::kName, [&](std::string_view row_key, std::string_view row) {
      const Result<NameRecord> name = NameRecord::Decode(row);
      if (!name.ok() || name->directory_versions == 0) return;
      lists_[name->directory_versions] = {std::string(row_key), name->last_directory_version, 0};
    });
  }

  Status ScanVersions() {
    return context_.ScanTable(
        key::kDirectoryVersion, [&](std::string_view row_key, std::string_view row) {
          const Result<DirectoryVersionRecord> version = DirectoryVersionRecord::Decode(row);
          if (!version.ok()) return;
          last_moment_ = std::max(last_moment_, version->moment);
          const auto list = lists_.find(key::Id(row_key));
          if (list == lists_.end()) {
            ++nameless_;
            return;
          }
          list->second.highest = std::max(list->second.highest, key::Number(row_key));
          present_.emplace_back(key::Id(row_key), key::Number(row_key));
        });
  }

  Status ScanClones() {
    return context_.ScanTable(key::kClone, [&](std::string_view, std::string_view row) {
      const Result<CloneRecord> clone = CloneRecord::Decode(row);
      if (clone.ok()) last_moment_ = std::max(last_moment_, clone->original.moment);
    });
  }

  Status ScanPins() {
    RETURN_IF_ERROR(
        context_.ScanTable(key::kPin, [&](std::string_view row_key, std::string_view row) {
          const Result<VersionNumber> number = DecodePin(row);
          if (!number.ok()) return;
          const std::pair<HistoryId, VersionNumber> version(key::Id(row_key), *number);
          if (std::binary_search(present_.begin(), present_.end(), version)) return;
          context_.Found(fmt::format("pin \"{}\" is of version {} of a directory, which is gone",
                                     key::PinName(row_key), *number),
                         "the pin is dropped");
          dropped_.push_back({std::string(row_key), std::nullopt});
        }));
    if (nameless_ > 0)
      context_.Note(fmt::format("{} versions of directories belong to no name", nameless_));
    return Status();
  }

  // A moment that was given twice would mix two captures.
  Status CheckMoment() {
    SavedRows rows(context_.d.catalog);
    if (const Status loaded = rows.Load(); !loaded.ok() && context_.repair()) return loaded;
    if (last_moment_ < rows.now()) return Status();
    context_.Found(fmt::format("directories were captured at moment {}, and the present one is {}",
                               last_moment_, rows.now()),
                   "the counter is set behind it");
    if (!context_.repair()) return Status();
    ASSIGN_OR_RETURN(const uint64_t reserved, context_.d.tree.ReservedIds());
    std::string value;
    ByteWriter out(&value);
    out.U64(last_moment_ + 1);
    out.U64(reserved);
    Batch batch;
    batch.Put(key::Meta(SavedRows::kMomentMeta), std::move(value));
    return context_.Apply(batch);
  }

  Status RaiseCounters() {
    for (const auto& [id, list] : lists_) {
      if (list.highest <= list.last) continue;
      context_.Found(fmt::format("version {} of directory \"{}\" is above the last number that was "
                                 "given",
                                 list.highest, key::NameOf(list.name_row)),
                     "the counter is raised");
      if (!context_.repair()) continue;
      ASSIGN_OR_RETURN(NameRecord name, DirectoryHistory(context_.d.catalog).Name(list.name_row));
      name.last_directory_version = list.highest;
      Batch batch;
      batch.Put(list.name_row, name.Encode());
      RETURN_IF_ERROR(context_.Apply(batch));
    }
    return Status();
  }

  FsckContext& context_;
  std::unordered_map<HistoryId, List> lists_;
  std::vector<std::pair<HistoryId, VersionNumber>> present_;  // ascending, as scanned
  std::vector<Batch::Change> dropped_;
  Moment last_moment_ = 0;
  uint64_t nameless_ = 0;
};

}  // namespace

Status CheckDirectoryHistory(FsckContext& context) { return HistoryCheck(context).Run(); }

}  // namespace varve
