#include "fs/core/superblock.h"

#include <algorithm>

#include "store/base/checksum.h"
#include "store/base/log.h"
#include "store/chunk/fingerprint.h"

namespace varve {
namespace {

constexpr std::string_view kMagic = "VarveFS\n";
constexpr size_t kBytesMax = 4096;

}  // namespace

std::string Superblock::Encode() const {
  std::string bytes;
  ByteWriter out(&bytes);
  out.Raw(AsBytes(kMagic));
  out.U32(format_version);
  out.U64(static_cast<uint64_t>(created_s));
  out.Text(secret);
  out.U64(Checksum64(AsBytes(bytes)));
  return bytes;
}

Result<Superblock> Superblock::Decode(std::string_view bytes, const std::string& name) {
  ByteReader in(bytes);
  if (AsText(in.Raw(kMagic.size())) != kMagic)
    return Status(Code::kInvalid,
                  name + " is not a VarveFS store: its superblock is something else");
  Superblock superblock;
  superblock.format_version = in.U32();
  if (superblock.format_version > kFormatVersion)
    return Status(Code::kInvalid, name + " has store format " +
                                      std::to_string(superblock.format_version) +
                                      ", and this varve knows formats up to " +
                                      std::to_string(kFormatVersion) + "; use a newer varve");
  superblock.created_s = static_cast<int64_t>(in.U64());
  superblock.secret = in.Text();
  const size_t signed_bytes = bytes.size() - in.remaining();
  const uint64_t checksum = in.U64();
  if (!in.Done() || superblock.secret.size() != Fingerprinter::kSecretBytes ||
      checksum != Checksum64(AsBytes(bytes.substr(0, signed_bytes))))
    return Status(Code::kCorrupt,
                  "the superblock of " + name + " is damaged; varve fsck --repair may restore it");
  return superblock;
}

Result<Superblock> ReadSuperblock(Disk& disk, const std::string& path, const std::string& name) {
  ASSIGN_OR_RETURN(const std::string bytes, ReadFile(disk, path, kBytesMax));
  return Superblock::Decode(bytes, name);
}

Status WriteSuperblock(Disk& disk, const Superblock& superblock) {
  const std::string bytes = superblock.Encode();
  RETURN_IF_ERROR(ReplaceFile(disk, kSuperblockPath, AsBytes(bytes)));
  return ReplaceFile(disk, kSuperblockCopyPath, AsBytes(bytes));
}

Status CheckIsStoreOrEmpty(Disk& disk, const std::string& name) {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, disk.List("."));
  const auto is_superblock = [](const std::string& other) {
    return other.starts_with(kSuperblockPath);
  };
  if (std::any_of(names.begin(), names.end(), is_superblock)) return Status();
  for (const std::string& other : names) {
    if (other == "lost+found" || other == "lock") continue;
    return Status(Code::kInvalid, name + " is neither empty nor a VarveFS store (it holds \"" +
                                      other + "\"); name an empty or a new directory");
  }
  return Status();
}

Result<Superblock> OpenSuperblock(Disk& disk, const std::string& name, int64_t now_s) {
  Result<Superblock> superblock = ReadSuperblock(disk, kSuperblockPath, name);
  if (superblock.ok()) {
    const Result<Superblock> copy = ReadSuperblock(disk, kSuperblockCopyPath, name);
    if (copy.ok() && copy->secret == superblock->secret) return superblock;
    const Status copied = ReplaceFile(disk, kSuperblockCopyPath, AsBytes(superblock->Encode()));
    if (!copied.ok()) LogWarning("cannot write the copy of the superblock: {}", copied.ToString());
    return superblock;
  }
  if (ReadSuperblock(disk, kSuperblockCopyPath, name).ok())
    return Status(Code::kCorrupt, "the superblock of " + name + " is missing or damaged (" +
                                      std::string(superblock.status().context()) +
                                      "); varve fsck --repair " + name +
                                      " restores it from its copy");
  if (superblock.status().code() != Code::kNotFound) return superblock.status();
  if (disk.Stat(kSuperblockCopyPath).ok())
    return Status(Code::kCorrupt, "the superblock of " + name +
                                      " is gone, and its copy is damaged; restore either file "
                                      "from a backup");
  RETURN_IF_ERROR(CheckIsStoreOrEmpty(disk, name));
  Superblock made;
  made.secret = Fingerprinter::MakeSecret();
  made.created_s = now_s;
  RETURN_IF_ERROR(WriteSuperblock(disk, made));
  return made;
}

}  // namespace varve
