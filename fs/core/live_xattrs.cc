// Extended attributes of live nodes.

#include <sys/xattr.h>
#include <unistd.h>

#include "fs/core/content_verdict.h"
#include "fs/core/live_nodes.h"
#include "fs/core/retention.h"
#include "fs/core/status_attributes.h"

namespace varve {
namespace {

constexpr size_t kValueBytesMax = 64 << 10;
constexpr size_t kListBytesMax = 64 << 10;
constexpr std::string_view kCollectAttribute = "user.varve.gc";
constexpr std::string_view kScrubAttribute = "user.varve.scrub";
constexpr std::string_view kPurgeAttribute = "user.varve.purge";
constexpr std::string_view kPurgeDryRun = "dry-run/";
constexpr std::string_view kCloneAttribute = "user.varve.clone_of";
constexpr std::string_view kAclPrefix = "system.posix_acl_";

// POSIX ACLs would have to take part in every permission check; they are refused.
Status CheckName(std::string_view name) {
  if (name.starts_with(kAclPrefix)) return Status::Errno(EOPNOTSUPP);
  if (name.size() > kNameBytesMax) return Status::Errno(ERANGE);
  for (const std::string_view space : {"user.", "trusted.", "security.", "system."})
    if (name.starts_with(space) && name.size() > space.size()) return Status();
  return Status::Errno(EOPNOTSUPP);
}

// Of what concerns the whole store.
Status RequireOperator(const Caller& caller) {
  return caller.uid == 0 || caller.uid == geteuid() ? Status() : Status::Errno(EPERM);
}

}  // namespace

Result<std::string> LiveNodes::GetXattr(const Caller& caller, NodeId node, std::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  if (name == kScrubAttribute || name == kPurgeAttribute) {
    // It names files of all users.
    RETURN_IF_ERROR(RequireOperator(caller));
    const auto& report = name == kScrubAttribute ? d_.scrub_report : d_.purge_report;
    if (!report) return Status::Errno(ENODATA);
    return report();
  }
  if (name.starts_with(kStatusAttributePrefix)) {
    ASSIGN_OR_RETURN(const std::optional<std::string> status, StatusAttributeOf(node, name));
    if (status) return *status;
  }
  ASSIGN_OR_RETURN(std::optional<std::string> value, d_.tree.catalog().Get(key::Xattr(node, name)));
  if (!value) return Status::Errno(ENODATA);
  return *std::move(value);
}

Result<std::optional<std::string>> LiveNodes::StatusAttributeOf(InodeNumber inode,
                                                                std::string_view name) {
  InodeRecord record;
  StatusFacts facts;
  std::vector<SetMember> members;
  {
    MutexLock lock(d_.tree.mutex());
    ASSIGN_OR_RETURN(record, d_.tree.Inode(inode));
    if (name == kSealAttribute && seals_.Has(inode)) return std::optional<std::string>("1");
    if (name == kCloneAttribute) {
      ASSIGN_OR_RETURN(const std::optional<CloneRecord> clone, d_.clones.Of(inode));
      return clone && !clone->path.empty() ? std::optional(clone->path) : std::nullopt;
    }
    if (S_ISDIR(record.mode) && IsVerdict(name)) {
      ASSIGN_OR_RETURN(members, MembersLocked(inode));
    } else if (!S_ISREG(record.mode)) {
      return std::optional<std::string>();
    }
    if (S_ISREG(record.mode)) {
      ASSIGN_OR_RETURN(facts, d_.files.StatusLocked(inode, record));
    }
  }
  if (S_ISDIR(record.mode)) {
    ASSIGN_OR_RETURN(const DirectoryVerdict verdict,
                     JudgeDirectory(d_.tree.catalog(), d_.files, members));
    return DirectoryAttribute(name, verdict);
  }
  if (IsVerdict(name)) RETURN_IF_ERROR(AddVerdict(d_.files, facts.id, record.name, &facts.content));
  std::optional<std::string> value = StatusAttribute(name, facts);
  // Durable is what the rows that say so are, too.
  if (value && name == "user.varve.durable") RETURN_IF_ERROR(d_.tree.catalog().SyncLog());
  return value;
}

Result<std::vector<SetMember>> LiveNodes::MembersLocked(InodeNumber directory) {
  std::vector<SetMember> members;
  uint64_t after = 0;
  while (true) {
    ASSIGN_OR_RETURN(const std::vector<NamedEntry> entries,
                     d_.clones.List(directory, after, Catalog::kScanKeysMax));
    if (entries.empty()) return members;
    after = entries.back().slot;
    for (const NamedEntry& entry : entries) {
      if (!S_ISREG(entry.record.type)) continue;
      ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(entry.record.inode));
      members.push_back({entry.record.name, record.content, record.size_bytes});
    }
  }
}

Status LiveNodes::SetXattr(const Caller& caller, NodeId node, std::string_view name, ByteView value,
                           int flags) {
  RETURN_IF_ERROR(CheckName(name));
  if (value.size() > kValueBytesMax) return Status::Errno(E2BIG);
  if (name == "user.varve.sync") return Sync(node);
  if (name == kSealAttribute) return Seal(caller, node, value);
  if (name == kCollectAttribute) return Collect(caller, AsText(value));
  if (name == kScrubAttribute) return Scrub(caller, AsText(value));
  if (name == kPurgeAttribute) return AskPurge(caller, node, AsText(value));
  if (name == kCloneAttribute) return MakeClone(caller, node, AsText(value));
  if (name == kKeepAttribute) {
    if (!RetentionRule::Parse(AsText(value)).ok()) return Status::Errno(EINVAL);
  } else if (name.starts_with(kStatusAttributePrefix)) {
    return Status::Errno(EPERM);
  }
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  RETURN_IF_ERROR(RequireChangeableLocked(node));
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  if (name == kKeepAttribute && !S_ISDIR(record.mode)) return Status::Errno(ENOTDIR);
  std::string row_key = key::Xattr(node, name);
  ASSIGN_OR_RETURN(const std::optional<std::string> present, d_.tree.catalog().Get(row_key));
  if (present && (flags & XATTR_CREATE) != 0) return Status::Errno(EEXIST);
  if (!present && (flags & XATTR_REPLACE) != 0) return Status::Errno(ENODATA);
  if (!present) {
    // More names than listxattr(2) can ever return would be lost to every copy.
    size_t listed = name.size() + 1;
    const key::Range range = key::AllXattrs(node);
    RETURN_IF_ERROR(
        d_.tree.catalog().Scan(range.begin, range.end, [&](std::string_view key, std::string_view) {
          listed += key::XattrName(key).size() + 1;
          return true;
        }));
    if (listed > kListBytesMax) return Status::Errno(ENOSPC);
  }
  Batch batch;
  batch.Put(std::move(row_key), std::string(AsText(value)));
  record.change_time = d_.tree.Now();
  Tree::PutInode(node, record, &batch);
  RETURN_IF_ERROR(d_.tree.Apply(batch));
  if (name == "security.capability")
    if (const std::shared_ptr<OpenFile> file = d_.files.FindLocked(node)) file->capability = true;
  return Status();
}

Result<std::string> LiveNodes::ListXattr(const Caller&, NodeId node) {
  std::string names;
  const key::Range range = key::AllXattrs(node);
  RETURN_IF_ERROR(
      d_.tree.catalog().Scan(range.begin, range.end, [&](std::string_view key, std::string_view) {
        const std::string_view name = key::XattrName(key);
        if (name.starts_with(kStatusAttributePrefix))
          return true;  // `cp -a` shall not take it along
        names.append(name);
        names.push_back('\0');
        return true;
      }));
  return names;
}

Status LiveNodes::Collect(const Caller& caller, std::string_view options) {
  RETURN_IF_ERROR(RequireOperator(caller));
  RETURN_IF_ERROR(Syncable());
  return d_.collect ? d_.collect(options) : Status::Errno(EOPNOTSUPP);
}

// Of a fenced store, too: it only reads.
Status LiveNodes::Scrub(const Caller& caller, std::string_view options) {
  RETURN_IF_ERROR(RequireOperator(caller));
  return d_.scrub ? d_.scrub(options) : Status::Errno(EOPNOTSUPP);
}

// No name has a '/', so the value is one, with what is to be done in front.
Status LiveNodes::AskPurge(const Caller& caller, InodeNumber directory, std::string_view name) {
  RETURN_IF_ERROR(RequireOperator(caller));
  RETURN_IF_ERROR(Syncable());
  const bool dry_run = name.starts_with(kPurgeDryRun);
  if (dry_run) name.remove_prefix(kPurgeDryRun.size());
  if (name.empty() || name == "." || name == ".." || name.find('/') != name.npos)
    return Status::Errno(EINVAL);
  if (!d_.purge) return Status::Errno(EOPNOTSUPP);
  PurgeRequest request;
  {
    MutexLock lock(d_.tree.mutex());
    ASSIGN_OR_RETURN(const InodeRecord record, d_.tree.Inode(directory));
    if (!S_ISDIR(record.mode)) return Status::Errno(ENOTDIR);
    request.history = record.history;
    request.path = d_.tree.PathOf(directory);
  }
  request.name = name;
  if (request.path != "/") request.path.push_back('/');
  request.path.append(name);
  d_.purge(std::move(request), dry_run);
  return Status();
}

Status LiveNodes::RemoveXattr(const Caller& caller, NodeId node, std::string_view name) {
  RETURN_IF_ERROR(CheckName(name));
  if (name == kSealAttribute) return Unseal(caller, node);
  MutexLock lock(d_.tree.mutex());
  RETURN_IF_ERROR(Writable());
  RETURN_IF_ERROR(RequireChangeableLocked(node));
  ASSIGN_OR_RETURN(InodeRecord record, d_.tree.Inode(node));
  std::string row_key = key::Xattr(node, name);
  ASSIGN_OR_RETURN(const std::optional<std::string> present, d_.tree.catalog().Get(row_key));
  if (!present) return Status::Errno(ENODATA);
  Batch batch;
  batch.Delete(std::move(row_key));
  record.change_time = d_.tree.Now();
  Tree::PutInode(node, record, &batch);
  return d_.tree.Apply(batch);
}

}  // namespace varve
