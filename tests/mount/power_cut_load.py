"""A load for power cuts: every call is in one order, so the names after a cut are a prefix of it.

One process saves files in place, by rename, as new files, with and without fsync, moves and
removes them, and logs each call outside of the disk. check() finds a prefix of the calls, no
shorter than the last fsync, whose names are what is there. Then each file must have one of the
contents that its inode, or an earlier file of that name, had at a close or an fsync, no older than
what was last synced or than what was closed long enough before the cut. A file that replaced none
with durable content may be torn: then it says that it is not complete.
"""

import json
import os
import random
import time

from crash_load import data_of

DURABLE_AFTER_S = 10.0  # 5 s by contract, plus the time that a busy disk needs


class Inode:
    def __init__(self, replaced=()):
        self.contents = []        # (sequence number, time, token, length)
        self.oldest_allowed = -1  # index into contents: the newest that is durable for sure
        self.durable = set()      # indices of all that were made durable themselves
        # (inode, whether it is what a power cut leaves for sure); the last one first.
        self.replaced = replaced

    def add(self, number, when, token, length):
        self.contents.append((number, when, token, length))


class Load:
    def __init__(self, directory, log_path, seed):
        self.directory = directory
        self.random = random.Random(seed)
        self.log = os.open(log_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
        self.number = 0
        self.files = set()
        self.directories = {""}

    def note(self, **fields):
        fields["time"] = time.monotonic()
        os.write(self.log, json.dumps(fields).encode() + b"\n")

    def step(self, call, function):
        """Logs "begin", runs the call, logs "end"."""
        self.number += 1
        self.note(number=self.number, state="begin", **call)
        function()
        self.note(number=self.number, state="end", **call)

    def path(self, name):
        return os.path.join(self.directory, name)

    def save(self, name, sync):
        """Truncates or creates, writes, perhaps fsyncs, closes."""
        flags = os.O_CREAT | os.O_TRUNC | os.O_WRONLY
        fds = []
        self.step({"op": "create", "path": name},
                  lambda: fds.append(os.open(self.path(name), flags, 0o644)))
        fd = fds[0]
        token, length = f"{name}:{self.number}", self.random.choice((10, 5000, 70000, 600000))
        try:
            os.write(fd, data_of(token, length))
            content = {"path": name, "token": token, "length": length}
            if sync:
                self.step({"op": "fsync", **content}, lambda: os.fsync(fd))
        except OSError:
            os.close(fd)
            raise
        self.step({"op": "close", **content}, lambda: os.close(fd))
        self.files.add(name)

    def rename(self, old, new):
        self.step({"op": "rename", "path": old, "to": new},
                  lambda: os.rename(self.path(old), self.path(new)))
        self.files.discard(old)
        self.files.add(new)

    def sync_directory(self, name):
        fd = os.open(self.path(name), os.O_RDONLY)
        try:
            self.step({"op": "fsync_directory", "path": name}, lambda: os.fsync(fd))
        finally:
            os.close(fd)

    def run(self, stopped):
        try:
            while not stopped():
                self.one()
        except OSError:
            pass
        return self.number

    def one(self):
        r = self.random
        place = r.choice(sorted(self.directories))
        name = os.path.join(place, f"f{r.randrange(8)}")
        sync = r.random() < 0.15
        kind = r.random()
        if kind < 0.4:
            self.save(name, sync)
        elif kind < 0.75:
            self.save(name + ".tmp", sync)
            self.rename(name + ".tmp", name)
        elif kind < 0.83 and self.files:
            name = r.choice(sorted(self.files))
            self.step({"op": "unlink", "path": name}, lambda: os.unlink(self.path(name)))
            self.files.discard(name)
        elif kind < 0.90 and self.files:
            self.rename(r.choice(sorted(self.files)), name)
        elif kind < 0.95 and len(self.directories) < 6:
            new = f"d{self.number}"
            self.step({"op": "mkdir", "path": new}, lambda: os.mkdir(self.path(new)))
            self.directories.add(new)
        else:
            self.sync_directory(place)


class History:
    """The log replayed; names_after[k] maps each name to its inode after k calls."""

    def __init__(self, log_path, cut_time):
        self.inodes = {}
        self.names_after = [{}]
        self.shortest = 0
        self.contents = {}
        self.earlier = {}  # name -> [(call, inode, index into its contents)]
        calls = self.read(log_path)
        for number, call in enumerate(calls, 1):
            names = dict(self.names_after[-1])
            self.apply(names, number, call, cut_time)
            self.names_after.append(names)

    @staticmethod
    def read(log_path):
        calls = []
        with open(log_path, encoding="ascii") as log:
            for line in log:
                fields = json.loads(line)
                if fields["state"] == "begin":
                    calls.append({**fields, "ended": None})
                else:
                    calls[fields["number"] - 1]["ended"] = fields["time"]
        return calls

    def apply(self, names, number, call, cut_time):
        op, path, ended = call["op"], call["path"], call["ended"]
        # The machine was off when this returned: nothing is promised.
        in_time = ended is not None and ended < cut_time
        if op == "create":
            if path not in names:
                names[path] = Inode()
        elif op in ("close", "fsync"):
            inode = names[path]
            inode.add(number, ended, call["token"], call["length"])
            self.contents.setdefault(path, []).append((call["token"], call["length"]))
            self.remember(path, number, inode)
            old_enough = in_time and cut_time - ended > DURABLE_AFTER_S
            if in_time and op == "fsync" or old_enough:
                self.shortest = number
            if old_enough or in_time and op == "fsync":
                inode.oldest_allowed = len(inode.contents) - 1
                inode.durable.add(inode.oldest_allowed)
        elif op == "fsync_directory":
            if in_time:
                self.shortest = number
        elif op == "rename":
            inode = names.pop(path)
            if inode is not names.get(call["to"]):
                self.maybe_forgotten(path, inode)
                inode = self.moved(inode, names.get(call["to"]), path.endswith(".tmp"))
            names[call["to"]] = inode
            self.remember(call["to"], number, inode)
        elif op == "unlink":
            del names[path]
        elif op == "mkdir":
            names[path] = None

    def remember(self, name, number, inode):
        if inode is not None and inode.contents:
            self.earlier.setdefault(name, []).append(
                [number, inode, len(inode.contents) - 1, "sure"])

    def maybe_forgotten(self, name, inode):
        """A name that only ever had one version leaves none when it is renamed away."""
        entries = self.earlier.get(name, ())
        if all(entry[1].contents is inode.contents or entry[3] == "maybe" for entry in entries):
            for entry in entries:
                entry[3] = "maybe"

    @staticmethod
    def moved(inode, replaced, temporary):
        """The same inode, which may fall back to what it replaced, also under a third name.

        It has to if nothing else can: when its first name was a temporary one.
        """
        if replaced is not None:
            moved = Inode(((replaced, temporary), *inode.replaced))
            moved.contents, moved.oldest_allowed = inode.contents, inode.oldest_allowed
            moved.durable = inode.durable
            return moved
        return inode

    def whose(self, data):
        """For messages: the save that `data` came from."""
        for contents in self.contents.values():
            for content in contents:
                if data == data_of(*content):
                    return f"saved as {content[0]}"
        return "zeros" if not any(data) else f"foreign ({data[:16].hex()}…)"

    def allowed(self, name, inode, sequence):
        """The contents that may be there after `sequence` calls; None: or torn."""
        for content in reversed(inode.contents[max(inode.oldest_allowed, 0):]):
            if content[0] <= sequence + 1:
                yield content[2:]
        known = sum(content[0] <= sequence for content in inode.contents)
        if known == 0:
            yield "", 0  # made, and not written yet
        elif inode.oldest_allowed >= known - 1:
            return  # the newest is durable, so nothing else will do
        seen = set()
        durable = yield from self.fallbacks(inode, known - 1, seen)
        for number, other, index, kept in reversed(self.earlier.get(name, ())):
            if number <= sequence + 1 and other.contents is not inode.contents:
                found = yield from self.fallbacks(other, index, seen)
                if found and number <= sequence and kept == "sure":
                    durable = True
                    break
        if not durable:
            yield None

    def fallbacks(self, inode, index, seen):
        """A file's contents down to the newest durable one, then those of what it replaced.

        Returns whether one is durable, so that nothing older has to do.
        """
        if id(inode) in seen:
            return False
        seen.add(id(inode))
        for i in range(index, -1, -1):
            yield inode.contents[i][2:]
            if i in inode.durable:
                return True
        durable = False
        for replaced, surely in inode.replaced:
            found = yield from self.fallbacks(replaced, len(replaced.contents) - 1, seen)
            durable = durable or found and surely
        return durable


def names_in(directory):
    found = set()
    for root, dirs, files in os.walk(directory):
        for name in (*dirs, *files):
            found.add(os.path.relpath(os.path.join(root, name), directory))
    return found


def read(path):
    with open(path, "rb") as file:
        return file.read()


def check(directory, log_path, cut_time):
    """Raises AssertionError, or returns (calls made, calls that survived, torn files)."""
    history = History(log_path, cut_time)
    found = names_in(directory)
    last = len(history.names_after) - 1
    candidates = [k for k in range(history.shortest, last + 1)
                  if set(history.names_after[k]) == found]
    if not candidates:
        raise AssertionError(
            f"names are no prefix between call {history.shortest} (the last fsync) and {last}: "
            f"{sorted(found)}; nearest: {nearest(history, found)}")
    actual = {name: read(os.path.join(directory, name)) for name in found
              if os.path.isfile(os.path.join(directory, name))}
    complaints = []
    for k in reversed(candidates):
        culprit, complaint, torn = check_contents(history, k, directory, actual)
        if complaint is None:
            return last, k, torn
        complaints.append(f"as after call {k}: {complaint}")
    # What happened to the file, in seconds before the cut.
    told = "\n".join(about(log_path, culprit, cut_time))
    raise AssertionError("; ".join(complaints[:4]) + "\n" + told)


def about(log_path, name, cut_time):
    """The calls that made what is under a name, following renames backwards."""
    names, lines = {name}, []
    for number, call in reversed(list(enumerate(History.read(log_path), 1))):
        if call["op"] == "fsync_directory":
            continue
        if call["op"] == "rename" and call["to"] in names:
            names.add(call["path"])
        if names & {call["path"], call.get("to")}:
            when = "unfinished" if call["ended"] is None else f"{call['ended'] - cut_time:.2f}"
            lines.append(f"{number} {call['op']} {call['path']} {call.get('to', '')} {when}")
    return reversed(lines[:40])


def nearest(history, found):
    best = min(range(len(history.names_after)),
               key=lambda k: len(set(history.names_after[k]) ^ found))
    names = set(history.names_after[best])
    return f"call {best}, missing {sorted(names - found)}, foreign {sorted(found - names)}"


def check_contents(history, k, directory, actual):
    torn = 0
    for name, inode in history.names_after[k].items():
        if inode is None:
            continue
        for content in history.allowed(name, inode, k):
            if content is None:
                # Torn: whatever is left of it, it must say so.
                if os.getxattr(os.path.join(directory, name), "user.varve.complete") == b"0":
                    torn += 1
                    break
            elif actual[name] == data_of(*content):
                break
        else:
            allowed = list(history.allowed(name, inode, k))
            complete = os.getxattr(os.path.join(directory, name), "user.varve.complete").decode()
            return name, (f"{name}: {len(actual[name])} bytes, {history.whose(actual[name])}, "
                          f"complete {complete}, are none of {allowed[:5]}"), torn
    return None, None, torn


def check_versions(directory, log_path, cut_time):
    """Every version that is listed is readable and has some content that was really saved."""
    history = History(log_path, cut_time)
    saved = {data_of(*content) for contents in history.contents.values() for content in contents}
    count = 0
    for root in [directory, *(os.path.join(directory, name) for name in os.listdir(directory)
                              if os.path.isdir(os.path.join(directory, name)))]:
        base = os.path.join(root, ".varve", "versions")
        for name in os.listdir(base):
            for number in os.listdir(os.path.join(base, name)):
                path = os.path.join(base, name, number)
                if number == "latest":
                    continue
                count += 1
                complaint = check_version(path, saved)
                if complaint is not None:
                    raise AssertionError(f"{path}: {complaint}")
    return count


def check_version(path, saved):
    complete = os.getxattr(path, "user.varve.complete").decode()
    durable = os.getxattr(path, "user.varve.durable").decode()
    try:
        data = read(path)
    except OSError as error:
        # A capture that the cut has torn; it says so.
        if (complete, durable) == ("0", "0"):
            return None
        return f"{error.strerror}, complete {complete}, durable {durable}"
    if data not in saved and complete != "0":
        return f"foreign bytes in a version, durable {durable}"
    return None
