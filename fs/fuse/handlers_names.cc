// Requests that find, make, move and remove names.
#include "fs/fuse/handlers.h"
#include "fs/fuse/request.h"

namespace varve {
namespace {

// A name cannot come to lie among nodes of another kind.
Status CheckOneKind(NodeId from, NodeId to) {
  return KindOf(from) == KindOf(to) ? Status() : Status::Errno(EXDEV);
}

void Lookup(fuse_req_t raw, fuse_ino_t parent, const char* name) noexcept {
  Request request(raw, Operation::kLookup);
  request.Reply(request.Nodes(parent).Lookup(request.GetCaller(), parent, name));
}

void Forget(fuse_req_t raw, fuse_ino_t node, uint64_t lookups) noexcept {
  Request request(raw, Operation::kForget);
  request.Nodes(node).Forget(node, lookups);
  request.ReplyNothing();
}

void ForgetMany(fuse_req_t raw, size_t count, fuse_forget_data* forgets) noexcept {
  Request request(raw, Operation::kForget);
  for (size_t i = 0; i < count; ++i) {
    request.Nodes(forgets[i].ino).Forget(forgets[i].ino, forgets[i].nlookup);
  }
  request.ReplyNothing();
}

void ReadLink(fuse_req_t raw, fuse_ino_t node) noexcept {
  Request request(raw, Operation::kReadLink);
  request.ReplyLink(request.Nodes(node).ReadLink(node));
}

void MakeNode(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode,
              dev_t device) noexcept {
  Request request(raw, Operation::kMakeNode);
  request.Reply(request.Nodes(parent).MakeNode(request.GetCaller(), parent, name, mode, device));
}

void MakeDirectory(fuse_req_t raw, fuse_ino_t parent, const char* name, mode_t mode) noexcept {
  Request request(raw, Operation::kMakeDirectory);
  request.Reply(request.Nodes(parent).MakeDirectory(request.GetCaller(), parent, name, mode));
}

void MakeSymlink(fuse_req_t raw, const char* target, fuse_ino_t parent, const char* name) noexcept {
  Request request(raw, Operation::kMakeSymlink);
  request.Reply(request.Nodes(parent).MakeSymlink(request.GetCaller(), parent, name, target));
}

void MakeLink(fuse_req_t raw, fuse_ino_t node, fuse_ino_t parent, const char* name) noexcept {
  Request request(raw, Operation::kMakeLink);
  if (const Status kind = CheckOneKind(node, parent); !kind.ok()) {
    request.Reply(kind);
    return;
  }
  request.Reply(request.Nodes(parent).MakeLink(request.GetCaller(), node, parent, name));
}

void RemoveFile(fuse_req_t raw, fuse_ino_t parent, const char* name) noexcept {
  Request request(raw, Operation::kRemoveFile);
  request.Reply(request.Nodes(parent).RemoveFile(request.GetCaller(), parent, name));
}

void RemoveDirectory(fuse_req_t raw, fuse_ino_t parent, const char* name) noexcept {
  Request request(raw, Operation::kRemoveDirectory);
  request.Reply(request.Nodes(parent).RemoveDirectory(request.GetCaller(), parent, name));
}

void Rename(fuse_req_t raw, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned int flags) noexcept {
  Request request(raw, Operation::kRename);
  if (const Status kind = CheckOneKind(parent, new_parent); !kind.ok()) {
    request.Reply(kind);
    return;
  }
  request.Reply(request.Nodes(parent).Rename(request.GetCaller(), parent, name,
                                             RenameTarget{new_parent, new_name, flags}));
}

}  // namespace

void SetNameHandlers(fuse_lowlevel_ops* handlers) {
  handlers->lookup = Lookup;
  handlers->forget = Forget;
  handlers->forget_multi = ForgetMany;
  handlers->readlink = ReadLink;
  handlers->mknod = MakeNode;
  handlers->mkdir = MakeDirectory;
  handlers->symlink = MakeSymlink;
  handlers->link = MakeLink;
  handlers->unlink = RemoveFile;
  handlers->rmdir = RemoveDirectory;
  handlers->rename = Rename;
}

}  // namespace varve
