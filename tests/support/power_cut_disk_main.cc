// power_cut_disk: a disk whose power can be cut, for tests of real filesystems.
//
//   power_cut_disk IMAGE MOUNTPOINT     returns when the disk is there
//
// IMAGE is a plain file, MOUNTPOINT/disk.img shows it. The kernel's loop driver
// turns that into a block device, and turns a flush of the device into an fsync
// of disk.img. Writing "cut LOSS SEED" to MOUNTPOINT/control cuts the power:
// what LOSS says of the unflushed writes is gone (all, tail or random; see
// power_cut_image.h), and disk.img fails with EIO from then on. IMAGE then holds
// what has survived. MOUNTPOINT/control reads as counts, one "NAME NUMBER" a line.
//
// Unmounting ends the program, which has a mount namespace of its own, so that it
// keeps no mounts of its caller's namespace alive. tests/mount/powercut.py is the comfortable way
// in.
#define FUSE_USE_VERSION 318

#include <fuse_lowlevel.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/power_cut_image.h"

namespace varve::testing {
namespace {

// Linux 5.6; the headers of the oldest supported system may lack it.
constexpr int kSetIoFlusher = 57;
constexpr uint32_t kTransferBytesMax = 1 << 20;
constexpr double kForeverS = 86400;
constexpr fuse_ino_t kDisk = 2;
constexpr fuse_ino_t kControl = 3;

struct Entry {
  const char* name;
  fuse_ino_t inode;
};
constexpr Entry kEntries[] = {{"disk.img", kDisk}, {"control", kControl}};

PowerCutImage& ImageOf(fuse_req_t request) {
  return *static_cast<PowerCutImage*>(fuse_req_userdata(request));
}

int ErrnoOf(const Status& status) { return status.os_errno() != 0 ? status.os_errno() : EIO; }

struct stat Attributes(fuse_req_t request, fuse_ino_t inode) {
  struct stat attributes = {};
  attributes.st_ino = inode;
  attributes.st_nlink = 1;
  attributes.st_mode = inode == FUSE_ROOT_ID ? S_IFDIR | 0700 : S_IFREG | 0600;
  if (inode == kDisk) attributes.st_size = static_cast<off_t>(ImageOf(request).size());
  return attributes;
}

void LookUp(fuse_req_t request, fuse_ino_t parent, const char* name) {
  const auto found =
      std::find_if(std::begin(kEntries), std::end(kEntries), [&](const Entry& entry) {
        return parent == FUSE_ROOT_ID && std::strcmp(entry.name, name) == 0;
      });
  if (found == std::end(kEntries)) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  struct fuse_entry_param reply = {};
  reply.ino = found->inode;
  reply.attr = Attributes(request, found->inode);
  reply.attr_timeout = reply.entry_timeout = kForeverS;
  fuse_reply_entry(request, &reply);
}

void GetAttributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info*) {
  const struct stat attributes = Attributes(request, inode);
  fuse_reply_attr(request, &attributes, kForeverS);
}

// Truncation to nothing, as a shell's ">" does to the control file, changes nothing.
void SetAttributes(fuse_req_t request, fuse_ino_t inode, struct stat*, int,
                   struct fuse_file_info* file) {
  GetAttributes(request, inode, file);
}

void ListNames(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, struct fuse_file_info*) {
  std::vector<char> buffer(size);
  size_t used = 0;
  for (auto i = static_cast<size_t>(offset); i < std::size(kEntries); ++i) {
    const struct stat attributes = Attributes(request, kEntries[i].inode);
    const size_t need = fuse_add_direntry(request, buffer.data() + used, size - used,
                                          kEntries[i].name, &attributes, static_cast<off_t>(i + 1));
    if (need > size - used) break;
    used += need;
  }
  fuse_reply_buf(request, buffer.data(), used);
}

void OpenFile(fuse_req_t request, fuse_ino_t, struct fuse_file_info* file) {
  // No page cache in between: after the cut nothing may still be readable.
  file->direct_io = 1;
  fuse_reply_open(request, file);
}

std::string ControlText(const PowerCutImage& image) {
  const PowerCutImage::Counts& counts = image.counts();
  std::ostringstream text;
  text << "cut " << (image.cut() ? 1 : 0) << "\nwrites " << counts.writes << "\nflushes "
       << counts.flushes << "\nunflushed_writes " << counts.unflushed_writes << "\nunflushed_bytes "
       << counts.unflushed_bytes << "\nlost_sectors " << counts.lost_sectors << "\n";
  return text.str();
}

void Read(fuse_req_t request, fuse_ino_t inode, size_t size, off_t offset, struct fuse_file_info*) {
  PowerCutImage& image = ImageOf(request);
  const auto from = static_cast<uint64_t>(offset);
  if (inode == kControl) {
    const std::string text = ControlText(image);
    const size_t start = std::min<size_t>(static_cast<size_t>(from), text.size());
    fuse_reply_buf(request, text.data() + start, std::min(size, text.size() - start));
    return;
  }
  std::vector<uint8_t> bytes(
      static_cast<size_t>(std::min<uint64_t>(size, image.size() - std::min(from, image.size()))));
  const Status status = image.Read(from, bytes);
  if (status.ok()) {
    fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), bytes.size());
  } else {
    fuse_reply_err(request, ErrnoOf(status));
  }
}

Status Command(PowerCutImage& image, const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  std::string loss_name;
  uint64_t seed = 0;
  if (!(words >> verb >> loss_name >> seed) || verb != "cut") {
    return Status::Errno(EINVAL, "not a command: " + line);
  }
  const auto loss = PowerCutImage::LossFromName(loss_name);
  if (!loss.ok()) return Status::Errno(EINVAL, loss_name);
  return image.Cut(*loss, seed);
}

void Write(fuse_req_t request, fuse_ino_t inode, const char* bytes, size_t size, off_t offset,
           struct fuse_file_info*) {
  PowerCutImage& image = ImageOf(request);
  const Status status = inode == kControl ? Command(image, std::string(bytes, size))
                                          : image.Write(static_cast<uint64_t>(offset),
                                                        AsBytes(std::string_view(bytes, size)));
  if (status.ok()) {
    fuse_reply_write(request, size);
  } else {
    fuse_reply_err(request, ErrnoOf(status));
  }
}

void Sync(fuse_req_t request, fuse_ino_t inode, int, struct fuse_file_info*) {
  const Status status = inode == kDisk ? ImageOf(request).Flush() : Status();
  fuse_reply_err(request, status.ok() ? 0 : ErrnoOf(status));
}

void Initialise(void*, struct fuse_conn_info* connection) {
  connection->max_write = kTransferBytesMax;
}

// Leaves the process without any mount but an empty one. The mounts of the namespace that it
// came from, the one of the filesystem on this very disk among them, end with the last process
// there, and this must not be it.
bool LeaveMountNamespace() {
  constexpr char kSomeDirectory[] = "/tmp";
  return ::unshare(CLONE_NEWNS) == 0 &&
         ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         ::mount("none", kSomeDirectory, "tmpfs", 0, nullptr) == 0 &&
         ::chdir(kSomeDirectory) == 0 && ::syscall(SYS_pivot_root, ".", ".") == 0 &&
         ::umount2(".", MNT_DETACH) == 0 && ::chdir("/") == 0;
}

// One thread, so a cut falls between two requests.
int Serve(PowerCutImage& image, const char* program, const char* mount_point) {
  struct fuse_lowlevel_ops operations = {};
  operations.init = Initialise;
  operations.lookup = LookUp;
  operations.getattr = GetAttributes;
  operations.setattr = SetAttributes;
  operations.readdir = ListNames;
  operations.open = OpenFile;
  operations.read = Read;
  operations.write = Write;
  operations.fsync = Sync;
  std::string own_name = program;
  std::string flag = "-o";
  std::string options = "fsname=power_cut_disk,subtype=power_cut_disk";
  char* arguments[] = {own_name.data(), flag.data(), options.data(), nullptr};
  struct fuse_args fuse_arguments = {3, arguments, 0};
  const std::unique_ptr<struct fuse_session, void (*)(struct fuse_session*)> session(
      fuse_session_new(&fuse_arguments, &operations, sizeof(operations), &image),
      fuse_session_destroy);
  if (!session || fuse_session_mount(session.get(), mount_point) != 0) return EXIT_FAILURE;
  int outcome = EXIT_FAILURE;
  if (fuse_set_signal_handlers(session.get()) == 0) {
    // The parent exits inside; from here on this is the daemon.
    if (fuse_daemonize(/*foreground=*/0) == 0 && LeaveMountNamespace()) {
      // What it does must not wait for pages that only it can write.
      static_cast<void>(::prctl(kSetIoFlusher, 1, 0, 0, 0));
      outcome = fuse_session_loop(session.get()) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    }
    fuse_remove_signal_handlers(session.get());
  }
  fuse_session_unmount(session.get());
  return outcome;
}

}  // namespace
}  // namespace varve::testing

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: power_cut_disk IMAGE MOUNTPOINT\n");
    return 2;
  }
  auto image = varve::testing::PowerCutImage::Open(argv[1]);
  if (!image.ok()) {
    std::fprintf(stderr, "power_cut_disk: %s\n", image.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  return varve::testing::Serve(**image, argv[0], argv[2]);
}
