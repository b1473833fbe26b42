// CoreWorld's operations on names and attributes.

#include <fcntl.h>
#include <sys/xattr.h>

#include "tests/support/core_world.h"

namespace varve::testing {
namespace {

const Caller kRoot{};

}  // namespace

// --- names ---

bool CoreWorld::Create(const LinkName& place, int flags) {
  LiveNodes& live = store_.parts().live();
  Created created;
  Operation op{"create " + std::to_string(place.parent) + "/" + place.name, [&] {
                 Result<Created> made =
                     live.Create(kRoot, place.parent, place.name, S_IFREG | 0644, flags);
                 if (made.ok()) created = *made;
                 return made.status();
               }};
  op.after = model();
  ModelNode node;
  node.mode = S_IFREG | 0644;
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    const InodeNumber inode = created.entry.node;
    Dump dump;
    dump.nodes[place.parent].names[place.name] = inode;
    Renumber(&states_.back(), place, dump);
    known_.emplace_back(inode, 1);
    Opened(inode, created.opened.handle, flags);
    Learn(inode);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Make(const LinkName& place, mode_t mode) {
  LiveNodes& live = store_.parts().live();
  Entry entry;
  Operation op{"make " + std::to_string(place.parent) + "/" + place.name, [&] {
                 Result<Entry> made =
                     S_ISDIR(mode) ? live.MakeDirectory(kRoot, place.parent, place.name, mode)
                                   : live.MakeNode(kRoot, place.parent, place.name, mode, 0);
                 if (made.ok()) entry = *made;
                 return made.status();
               }};
  op.after = model();
  ModelNode node;
  node.mode = mode;
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    Dump dump;
    dump.nodes[place.parent].names[place.name] = entry.node;
    Renumber(&states_.back(), place, dump);
    known_.emplace_back(entry.node, 1);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Symlink(const LinkName& place) {
  LiveNodes& live = store_.parts().live();
  Entry entry;
  ModelNode node;
  node.mode = S_IFLNK | 0777;
  node.target = "../" + place.name;
  Operation op{"symlink " + place.name, [&] {
                 Result<Entry> made =
                     live.MakeSymlink(kRoot, place.parent, place.name, "../" + place.name);
                 if (made.ok()) entry = *made;
                 return made.status();
               }};
  op.after = model();
  op.expected = op.after.Make(place, kNewInode, node);
  op.makes = place;
  op.settle = [&] {
    Dump dump;
    dump.nodes[place.parent].names[place.name] = entry.node;
    Renumber(&states_.back(), place, dump);
    live.Forget(entry.node, 1);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Link(InodeNumber inode, const LinkName& place) {
  LiveNodes& live = store_.parts().live();
  Operation op{
      "link " + std::to_string(inode) + " as " + std::to_string(place.parent) + "/" + place.name,
      [&] {
        const Result<Entry> made = live.MakeLink(kRoot, inode, place.parent, place.name);
        if (made.ok()) live.Forget(inode, 1);
        return made.status();
      }};
  op.after = model();
  op.expected = op.after.Link(inode, place, captured_);
  return Execute(std::move(op));
}

bool CoreWorld::Unlink(const LinkName& place) {
  Operation op{"unlink " + std::to_string(place.parent) + "/" + place.name,
               [&] { return store_.parts().live().RemoveFile(kRoot, place.parent, place.name); }};
  op.after = model();
  op.expected = op.after.Unlink(place);
  return Execute(std::move(op));
}

bool CoreWorld::RemoveDirectory(const LinkName& place) {
  Operation op{"rmdir " + std::to_string(place.parent) + "/" + place.name, [&] {
                 return store_.parts().live().RemoveDirectory(kRoot, place.parent, place.name);
               }};
  op.after = model();
  op.expected = op.after.RemoveDirectory(place);
  return Execute(std::move(op));
}

bool CoreWorld::Rename(const LinkName& from, const LinkName& to, unsigned flags) {
  Operation op{"rename " + std::to_string(from.parent) + "/" + from.name + " to " +
                   std::to_string(to.parent) + "/" + to.name + " flags " + std::to_string(flags),
               [&] {
                 return store_.parts().live().Rename(kRoot, from.parent, from.name,
                                                     {to.parent, to.name, flags});
               }};
  op.after = model();
  op.expected = op.after.Rename(from, to, flags, captured_);
  op.settle = [&] {
    const auto facts = contents_.find(model().nodes.at(model().Find(to)).content);
    if (facts != contents_.end()) facts->second.replaced = Peek(facts->first).falls_back_to();
  };
  return Execute(std::move(op));
}

// --- attributes ---

bool CoreWorld::ChangeMode(InodeNumber inode, mode_t mode) {
  Operation op{
      "chmod " + std::to_string(inode), [&] {
        AttributeChange change;
        change.mode = mode;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  ModelNode& node = op.after.nodes.at(inode);
  node.mode = (node.mode & S_IFMT) | mode;
  return Execute(std::move(op));
}

bool CoreWorld::ChangeOwner(InodeNumber inode, uid_t uid) {
  Operation op{
      "chown " + std::to_string(inode), [&] {
        AttributeChange change;
        change.uid = uid;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  op.after.nodes.at(inode).uid = uid;
  return Execute(std::move(op));
}

bool CoreWorld::ChangeTimes(InodeNumber inode) {
  Operation op{
      "utimens " + std::to_string(inode), [&] {
        AttributeChange change;
        change.modify_time = {12345, 678};
        change.access_now = true;
        return store_.parts().live().SetAttributes(kRoot, inode, change, std::nullopt).status();
      }};
  op.after = model();
  return Execute(std::move(op));
}

bool CoreWorld::SetXattr(InodeNumber inode, const std::string& name, const std::string& value) {
  Operation op{"setxattr " + std::to_string(inode) + " " + name, [&] {
                 return store_.parts().live().SetXattr(kRoot, inode, name, AsBytes(value), 0);
               }};
  op.after = model();
  op.after.nodes.at(inode).xattrs[name] = value;
  return Execute(std::move(op));
}

bool CoreWorld::RemoveXattr(InodeNumber inode, const std::string& name) {
  Operation op{"removexattr " + std::to_string(inode) + " " + name,
               [&] { return store_.parts().live().RemoveXattr(kRoot, inode, name); }};
  op.after = model();
  op.expected = op.after.nodes.at(inode).xattrs.erase(name) == 0 ? ENODATA : 0;
  return Execute(std::move(op));
}

}  // namespace varve::testing
