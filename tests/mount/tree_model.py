"""Random operations on a tree of directories, clones and pins, compared with a model in memory.

The model is a tree of Node; a clone is a deep copy of what its original is at that instant, in
which hard links are separate files. Every operation is chosen by a random.Random(seed), so a
seed and a count of operations replay a run. check_all() compares everything: names, contents,
modes, attributes, times, link counts, and that inode numbers stay what they were.
"""

import errno
import mmap
import os
import random
import shutil
import stat

from syscalls import RENAME_EXCHANGE, renameat2

NODES_MAX = 260
CLONED_MAX = 80
HELD_MAX = 4


class Mismatch(AssertionError):
    pass


class Node:
    """A file, a directory or a symbolic link; hard links are one Node with several names."""

    def __init__(self, kind, mode=0o644):
        self.kind, self.mode = kind, mode
        self.data = bytearray()
        self.target = ""
        self.names = {}
        self.xattrs = {}
        self.links = 1
        self.mtime = None  # not known
        self.inode = None  # not looked at
        self.opened = None  # its bytes when the first of its writers opened it

    def copy(self):
        """As a clone shows it. Of what has a writer, it may show what that has opened."""
        node = Node(self.kind, self.mode)
        node.data = bytearray(self.data)
        node.opened = self.opened
        node.target = self.target
        node.names = {name: child.copy() for name, child in self.names.items()}
        node.xattrs = dict(self.xattrs)
        node.mtime = self.mtime
        return node

    def count(self):
        return 1 + sum(child.count() for child in self.names.values())

    def holds(self, other):
        return self is other or any(child.holds(other) for child in self.names.values())


class TreeModel:
    # How often each operation is chosen.
    WEIGHTS = {
        "create": 14, "make_directory": 6, "make_symlink": 3, "overwrite": 10, "append": 8,
        "write_within": 10, "truncate": 5, "map_write": 5, "unlink": 7, "rename": 10,
        "replace": 5, "exchange": 4, "link": 4, "remove_tree": 4, "remove_empty": 2,
        "change_mode": 3, "set_attribute": 4, "remove_attribute": 2, "set_time": 2, "hold": 3,
        "write_held": 6, "close_held": 3, "clone": 14, "clone_pin": 6, "pin": 5, "unpin": 1,
        "read_one": 10, "list_one": 6, "refuse": 3, "sync": 2, "drop_caches": 1, "collect": 1,
        "remount": 0, "kill": 0,
    }
    SIZES = (0, 10, 10, 3000, 5000, 70000, 300000)

    def __init__(self, root, seed, hooks, weights=None, sizes=None):
        """`hooks` has functions for clone(A, B), sync, drop_caches, collect, remount and kill."""
        self.root = root
        self.seed = seed
        self.random = random.Random(seed)
        self.hooks = hooks
        self.sizes = sizes or self.SIZES
        weights = {**self.WEIGHTS, **(weights or {})}
        self.operations = [name for name, weight in weights.items() if weight]
        self.weights = [weights[name] for name in self.operations]
        self.log = []
        self.number = 0
        self.top = Node("directory", stat.S_IMODE(os.stat(root).st_mode))
        self.held = []  # (descriptor, node)
        self.pins = []  # (node of the directory, name, model)

    def run(self, operations):
        try:
            for i in range(operations):
                name = self.random.choices(self.operations, self.weights)[0]
                if self.top.count() > NODES_MAX and self.random.random() < 0.5:
                    name = "remove_tree"
                self.log.append(f"{i}: {name}")
                getattr(self, name)()
            self.log.append("check_all")
            self.check_all()
        except (Mismatch, OSError) as error:
            self.fail(error)

    def fail(self, error):
        tail = "\n  ".join(self.log[-60:])
        raise AssertionError(f"seed {self.seed}: {error!r}; the last operations:\n  {tail}") \
            from error

    def close(self):
        for fd, node in self.held:
            os.close(fd)
            node.opened = None
        self.held = []

    # What the operations share.

    def note(self, *values):
        self.log[-1] += " " + " ".join(str(value).removeprefix(self.root) for value in values)

    def new_name(self, kind):
        self.number += 1
        return f"{kind}{self.number}"

    def walk(self, node=None, path=None):
        """(path, parent, name, node) of everything."""
        node, path = node or self.top, path or self.root
        for name, child in node.names.items():
            below = os.path.join(path, name)
            yield below, node, name, child
            if child.kind == "directory":
                yield from self.walk(child, below)

    def pick(self, *kinds):
        found = [entry for entry in self.walk() if entry[3].kind in kinds]
        return self.random.choice(found) if found else None

    def pick_directory(self):
        found = [(self.root, self.top)]
        found += [(path, node) for path, _, _, node in self.walk() if node.kind == "directory"]
        return self.random.choice(found)

    def path_of(self, wanted):
        if wanted is self.top:
            return self.root
        return next((path for path, _, _, node in self.walk() if node is wanted), None)

    def some_bytes(self):
        size = self.random.choice(self.sizes)
        return self.random.randbytes(self.random.randrange(size + 1))

    def put(self, node, offset, data):
        if offset > len(node.data):
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset:offset + len(data)] = data
        node.mtime = None

    # Files.

    def create(self):
        directory, parent = self.pick_directory()
        name, data = self.new_name("f"), self.some_bytes()
        self.note(directory, name, len(data))
        with open(os.path.join(directory, name), "xb") as file:
            file.write(data)
        node = parent.names[name] = Node("file")
        node.data[:] = data

    def overwrite(self):
        if entry := self.pick("file"):
            path, _, _, node = entry
            node.data[:] = data = self.some_bytes()
            node.mtime = None
            self.note(path, len(data))
            with open(path, "wb") as file:
                file.write(data)

    def append(self):
        if entry := self.pick("file"):
            path, _, _, node = entry
            data = self.some_bytes()
            self.note(path, len(data))
            with open(path, "ab") as file:
                file.write(data)
            self.put(node, len(node.data), data)

    def write_within(self):
        if entry := self.pick("file"):
            path, _, _, node = entry
            offset, data = self.random.randrange(len(node.data) + 1), self.some_bytes()
            self.note(path, offset, len(data))
            with open(path, "r+b") as file:
                file.seek(offset)
                file.write(data)
            if data:
                self.put(node, offset, data)

    def truncate(self):
        if entry := self.pick("file"):
            path, _, _, node = entry
            size = self.random.choice((0, len(node.data) // 2, len(node.data) + 5000))
            self.note(path, len(node.data), size)
            os.truncate(path, size)
            del node.data[size:]
            self.put(node, size, b"")

    def map_write(self):
        entry = self.pick("file")
        if entry and len(entry[3].data) > 0:
            path, _, _, node = entry
            offset = self.random.randrange(len(node.data))
            data = self.random.randbytes(100)[:len(node.data) - offset]
            self.note(path, offset)
            with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
                mapping[offset:offset + len(data)] = data
                mapping.flush()
            self.put(node, offset, data)

    def hold(self):
        entry = self.pick("file")
        if entry and len(self.held) < HELD_MAX:
            path, _, _, node = entry
            flags = self.random.choice((0, 0, os.O_TRUNC))
            self.note(path, flags)
            if all(other is not node for _, other in self.held):
                node.opened = bytes(node.data)
            self.held.append((os.open(path, os.O_RDWR | flags), node))
            if flags:
                del node.data[:]
            node.mtime = None

    def write_held(self):
        if self.held:
            fd, node = self.random.choice(self.held)
            offset, data = self.random.randrange(len(node.data) + 1), self.some_bytes()
            self.note(self.path_of(node), offset, len(data))
            os.pwrite(fd, data, offset)
            self.put(node, offset, data)

    def close_held(self):
        if self.held:
            fd, node = self.held.pop(self.random.randrange(len(self.held)))
            self.note(self.path_of(node))
            os.close(fd)
            node.mtime = None
            if all(other is not node for _, other in self.held):
                node.opened = None

    def settle(self, path, node):
        """Looks which bytes are shown of what had a writer."""
        for below, _, _, child in self.walk(node, path):
            if child.opened is not None:
                with open(below, "rb") as file:
                    if file.read() == child.opened:
                        child.data[:] = child.opened
                child.opened = None
                self.compare(below, child, live=False)

    def unlink(self):
        if entry := self.pick("file", "symlink"):
            path, parent, name, node = entry
            self.note(path)
            os.unlink(path)
            del parent.names[name]
            node.links -= 1

    def link(self):
        if entry := self.pick("file"):
            directory, parent = self.pick_directory()
            name = self.new_name("l")
            self.note(entry[0], directory, name)
            os.link(entry[0], os.path.join(directory, name))
            parent.names[name] = entry[3]
            entry[3].links += 1

    # Names.

    def make_directory(self):
        directory, parent = self.pick_directory()
        name = self.new_name("d")
        self.note(directory, name)
        os.mkdir(os.path.join(directory, name))
        parent.names[name] = Node("directory", 0o755)

    def make_symlink(self):
        directory, parent = self.pick_directory()
        node = Node("symlink")
        name, node.target = self.new_name("s"), self.new_name("to")
        self.note(directory, name)
        os.symlink(node.target, os.path.join(directory, name))
        parent.names[name] = node

    def rename(self):
        if entry := self.pick("file", "directory", "symlink"):
            path, parent, name, node = entry
            directory, to = self.pick_directory()
            if node.holds(to):
                return
            # Names that were used before come back, in the same directory or in others.
            new = self.random.choice((self.new_name("r"), name))
            if new in to.names:
                return
            self.note(path, directory, new)
            os.rename(path, os.path.join(directory, new))
            del parent.names[name]
            to.names[new] = node

    def replace(self):
        old, new = self.pick("file", "symlink"), self.pick("file", "symlink")
        if old is None or old[3] is new[3]:
            return
        self.note(old[0], new[0])
        os.rename(old[0], new[0])
        del old[1].names[old[2]]
        new[1].names[new[2]] = old[3]
        new[3].links -= 1

    def exchange(self):
        kinds = ("file", "directory", "symlink")
        one, two = self.pick(*kinds), self.pick(*kinds)
        if one is None or one[3].holds(two[3]) or two[3].holds(one[3]):
            return
        self.note(one[0], two[0])
        renameat2(one[0], two[0], RENAME_EXCHANGE)
        one[1].names[one[2]], two[1].names[two[2]] = two[3], one[3]
        # History, and so a pin, belongs to a name.
        self.pins = [pin for pin in self.pins
                     if not one[3].holds(pin[0]) and not two[3].holds(pin[0])]

    def remove_tree(self):
        if entry := self.pick("directory"):
            path, parent, name, node = entry
            self.note(path)
            shutil.rmtree(path)
            del parent.names[name]
            for _, _, _, below in self.walk(node, path):
                below.links -= 1

    def remove_empty(self):
        if entry := self.pick("directory"):
            path, parent, name, node = entry
            self.note(path)
            try:
                os.rmdir(path)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not node.names:
                    raise
                return
            if node.names:
                raise Mismatch(f"rmdir removed {path} with {sorted(node.names)}")
            del parent.names[name]

    # Attributes.

    def change_mode(self):
        if entry := self.pick("file", "directory"):
            path, _, _, node = entry
            modes = (0o644, 0o600, 0o755) if node.kind == "file" else (0o755, 0o700)
            node.mode = self.random.choice(modes)
            self.note(path, oct(node.mode))
            os.chmod(path, node.mode)

    def set_attribute(self):
        if entry := self.pick("file", "directory"):
            path, _, _, node = entry
            name = f"user.a{self.random.randrange(3)}"
            node.xattrs[name] = self.random.randbytes(self.random.choice((0, 5, 300)))
            self.note(path, name)
            os.setxattr(path, name, node.xattrs[name])

    def remove_attribute(self):
        if entry := self.pick("file", "directory"):
            path, _, _, node = entry
            if node.xattrs:
                name = self.random.choice(sorted(node.xattrs))
                self.note(path, name)
                os.removexattr(path, name)
                del node.xattrs[name]

    def set_time(self):
        entry = self.pick("file")
        if entry and all(node is not entry[3] for _, node in self.held):
            entry[3].mtime = self.random.randrange(1 << 60)
            self.note(entry[0], entry[3].mtime)
            os.utime(entry[0], ns=(5, entry[3].mtime))

    # Clones and pins.

    def clone(self):
        original, source = self.pick_directory()
        directory, parent = self.pick_directory()
        if source.count() > CLONED_MAX or self.top.count() > NODES_MAX:
            return
        name = self.new_name("c")
        path = os.path.join(directory, name)
        self.note(original, path)
        node = parent.names[name] = Node("directory", 0o755)
        if self.random.random() < 0.1 and not source.holds(parent):
            self.hooks["clone"](original, path)
            node.mode = source.mode
        else:
            os.mkdir(path)
            os.setxattr(path, "user.varve.clone_of", self.seen_from(directory, original))
        copy = source.copy()
        node.names, node.xattrs = copy.names, copy.xattrs
        self.settle(path, node)

    def seen_from(self, directory, original):
        relative = os.path.relpath(original, directory)
        return os.fsencode(original if self.random.random() < 0.5 else relative)

    def pin(self):
        directory, node = self.pick_directory()
        name = self.new_name("pin")
        self.note(directory, name)
        path = os.path.join(directory, ".varve", "history", name)
        os.mkdir(path)
        frozen = node.copy()
        self.settle(path, frozen)
        self.pins.append((node, name, frozen))

    def pick_pin(self):
        self.pins = [pin for pin in self.pins if self.path_of(pin[0])]
        if not self.pins:
            return None
        node, name, frozen = pin = self.random.choice(self.pins)
        return os.path.join(self.path_of(node), ".varve", "history", name), frozen, pin

    def clone_pin(self):
        picked = self.pick_pin()
        if not picked or self.top.count() > NODES_MAX:
            return
        original, frozen, _ = picked
        within = [(original, frozen)]
        within += [(path, node) for path, _, _, node in self.walk(frozen, original)
                   if node.kind == "directory"]
        original, frozen = self.random.choice(within)
        if frozen.count() > CLONED_MAX:
            return
        directory, parent = self.pick_directory()
        name = self.new_name("c")
        path = os.path.join(directory, name)
        self.note(original, path)
        os.mkdir(path)
        os.setxattr(path, "user.varve.clone_of", self.seen_from(directory, original))
        node = parent.names[name] = frozen.copy()
        node.mode, node.mtime = 0o755, None

    def unpin(self):
        if picked := self.pick_pin():
            self.note(picked[0])
            os.rmdir(picked[0])
            self.pins.remove(picked[2])

    def refuse(self):
        """What has names cannot become a clone."""
        path, node = self.pick_directory()
        if not node.names or node is self.top:
            return
        self.note(path)
        try:
            os.setxattr(path, "user.varve.clone_of", os.fsencode(self.root))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return
        raise Mismatch(f"{path} has names and became a clone")

    # The mount.

    def sync(self):
        self.hooks["sync"]()

    def drop_caches(self):
        self.hooks["drop_caches"]()

    def collect(self):
        self.hooks["collect"]()

    def remount(self):
        self.close()
        self.hooks["remount"]()

    def kill(self):
        self.close()
        self.hooks["kill"]()

    # Comparisons.

    def read_one(self):
        if entry := self.pick("file"):
            self.note(entry[0])
            self.compare(entry[0], entry[3])

    def list_one(self):
        path, node = self.pick_directory()
        self.note(path)
        self.compare_names(path, node)

    def check_all(self):
        inodes = {}
        for path, _, _, node in [(self.root, None, "", self.top), *self.walk()]:
            self.compare(path, node)
            if node.kind == "directory":
                self.compare_names(path, node)
            if inodes.setdefault(node.inode, node) is not node:
                raise Mismatch(f"{path}: another file has its inode {node.inode}, too")
        for directory, name, frozen in self.pins:
            if top := self.path_of(directory):
                top = os.path.join(top, ".varve", "history", name)
                self.compare_names(top, frozen)
                for path, _, _, node in self.walk(frozen, top):
                    self.compare(path, node, live=False)
                    if node.kind == "directory":
                        self.compare_names(path, node)

    def compare_names(self, path, node):
        with os.scandir(path) as listing:
            found = {entry.name: entry.inode() for entry in listing}
        if found.keys() != node.names.keys():
            raise Mismatch(f"{path}: too much: {sorted(found.keys() - node.names.keys())}, "
                           f"missing: {sorted(node.names.keys() - found.keys())}")
        for name, inode in found.items():
            if os.lstat(os.path.join(path, name)).st_ino != inode:
                raise Mismatch(f"{path}/{name}: the listing says another inode than lstat")

    def compare(self, path, node, live=True):
        info = os.lstat(path)
        kind = {stat.S_IFREG: "file", stat.S_IFDIR: "directory",
                stat.S_IFLNK: "symlink"}[stat.S_IFMT(info.st_mode)]
        self.expect(path, "kind", kind, node.kind)
        if kind == "symlink":
            self.expect(path, "target", os.readlink(path), node.target)
        else:
            self.expect(path, "mode", oct(stat.S_IMODE(info.st_mode)), oct(node.mode))
            names = os.listxattr(path)
            self.expect(path, "attributes", {name: os.getxattr(path, name) for name in names},
                        node.xattrs)
        if kind == "file":
            self.compare_content(path, info, node)
        if not live:
            return
        if kind == "directory":
            below = [child for child in node.names.values() if child.kind == "directory"]
            self.expect(path, "links", info.st_nlink, 2 + len(below))
        else:
            self.expect(path, "links", info.st_nlink, node.links)
        node.inode = node.inode or info.st_ino
        self.expect(path, "inode", info.st_ino, node.inode)

    def compare_content(self, path, info, node):
        self.expect(path, "size", info.st_size, len(node.data))
        with open(path, "rb") as file:
            data = file.read()
        if data != node.data:
            at = next((i for i, pair in enumerate(zip(data, node.data)) if pair[0] != pair[1]),
                      min(len(data), len(node.data)))
            raise Mismatch(f"{path}: {len(data)} bytes, not {len(node.data)}; first difference at "
                           f"{at}: {data[at:at + 8].hex()}, not {node.data[at:at + 8].hex()}")
        if node.data and all(held is not node for _, held in self.held):
            node.mtime = node.mtime or info.st_mtime_ns
            self.expect(path, "modification time", info.st_mtime_ns, node.mtime)

    def expect(self, path, what, found, expected):
        if found != expected:
            raise Mismatch(f"{path}: {what} is {found!r}, not {expected!r}")
