// CoreWorld's operations on the bytes of files, and what captures them.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "fs/core/history.h"
#include "tests/support/core_world.h"

namespace varve::testing {
namespace {

const Caller kRoot{};

std::string Resized(std::string bytes, uint64_t size) {
  bytes.resize(size, '\0');
  return bytes;
}

}  // namespace

// --- what the store decided ---

ContentRecord CoreWorld::Peek(ContentId content) {
  Result<ContentRecord> record = store_.parts().tree().Content(content);
  return record.ok() ? *record : ContentRecord();
}

ContentId CoreWorld::ContentOf(InodeNumber inode) {
  const Result<InodeRecord> record = store_.parts().tree().Inode(inode);
  return record.ok() ? record->content : 0;
}

// The file's content may be another one now, with the bytes of the model.
void CoreWorld::Learn(InodeNumber inode) {
  ModelNode& node = states_.back().nodes.at(inode);
  node.content = ContentOf(inode);
  if (node.content == 0) return;
  const auto [facts, fresh] = contents_.try_emplace(node.content);
  if (!fresh) return;
  facts->second.base = Peek(node.content).falls_back_to();
  facts->second.states = {node.bytes};
}

void CoreWorld::LearnStored() {
  for (auto& [content, facts] : contents_) {
    if (facts.stored || !Peek(content).stored) continue;
    facts.stored = true;
    ++counters_.stored;
  }
}

void CoreWorld::AddState(InodeNumber inode, const BytesPointer& bytes) {
  const auto facts = contents_.find(model().nodes.at(inode).content);
  if (facts != contents_.end() && !facts->second.stored) facts->second.states.push_back(bytes);
}

// It was another content that got these bytes.
void CoreWorld::DropState(ContentId content, const BytesPointer& bytes) {
  const auto facts = contents_.find(content);
  if (facts != contents_.end() && facts->second.states.back() == bytes)
    facts->second.states.pop_back();
}

void CoreWorld::SetBytes(Model* model, InodeNumber inode, const BytesPointer& bytes) {
  const auto node = model->nodes.find(inode);
  if (node == model->nodes.end()) return;
  node->second.bytes = bytes;
  AddState(inode, bytes);
}

// --- captures ---

bool CoreWorld::WouldCapture(InodeNumber inode) const {
  const auto open = open_.find(inode);
  return open != open_.end() && open->second.touched && model().nodes.at(inode).content != 0 &&
         model().LinksOf(inode) > 0;
}

void CoreWorld::Captured(InodeNumber inode) {
  const ContentId content = model().nodes.at(inode).content;
  captured_.insert(content);
  contents_[content].captured_ns = store_.clock().MonotonicNs();
  open_[inode].touched = false;
  ++counters_.versions;
}

bool CoreWorld::WasCaptured(InodeNumber inode) {
  const LinkName place = model().NamesOf(inode).front();
  const auto newest =
      History(store_.parts().catalog()).Latest(model().nodes.at(place.parent).history, place.name);
  return newest.ok() && newest->record.content == model().nodes.at(inode).content;
}

// Truncation to nothing ends a captured content: what was written since is part of it.
void CoreWorld::CaptureEnding(Model* model, InodeNumber inode) const {
  if (WouldCapture(inode) && captured_.contains(model->nodes.at(inode).content))
    model->Capture(inode);
}

bool CoreWorld::Flush(size_t index) {
  Handle& handle = handles_[index];
  Operation op{"flush " + std::to_string(handle.inode),
               [&] { return store_.parts().live().Flush(handle.inode, handle.id); }};
  op.after = model();
  op.unsettled = {handle.inode};
  bool captures = false;
  if (handle.writable) {
    OpenState& open = open_.at(handle.inode);
    if (!handle.flushed) --open.unclosed;
    handle.flushed = true;  // whatever comes of it
    captures = open.unclosed == 0 && WouldCapture(handle.inode);
  }
  const bool unsure = captures && open_.at(handle.inode).unsure;
  if (captures && !unsure) op.after.Capture(handle.inode);
  op.settle = [&] {
    if (unsure && (captures = WasCaptured(handle.inode))) states_.back().Capture(handle.inode);
    if (captures) Captured(handle.inode);
  };
  return Execute(std::move(op));
}

// What was opened for writing, is not changed, and cannot be what it was any more: the close
// made a version of it.
void CoreWorld::LearnUnchanged(InodeNumber inode) {
  const ModelNode& node = model().nodes.at(inode);
  Learn(inode);
  if (node.content == 0 || captured_.contains(node.content) || model().LinksOf(inode) == 0) return;
  const ContentRecord content = Peek(node.content);
  if (!content.captured || open_.at(inode).touched) return;
  if (*node.bytes != *contents_[content.base].states.back() && !content.overlay)
    return Fail("a version was made of what was not closed");
  states_.back().Capture(inode);
  Captured(inode);
}

bool CoreWorld::Release(size_t index) {
  if (!alive()) return false;
  const Handle handle = handles_[index];
  handles_.erase(handles_.begin() + static_cast<ptrdiff_t>(index));
  OpenState& open = open_.at(handle.inode);
  if (handle.writable && !handle.flushed) --open.unclosed;
  bool captures = handle.writable && open.unclosed == 0 && WouldCapture(handle.inode) && !Fenced();
  Operation op{"release " + std::to_string(handle.inode), [&] {
                 store_.parts().live().Release(handle.inode, handle.id);
                 return store_.crashed() ? Status::Errno(EIO) : Status();
               }};
  op.after = model();
  op.unsettled = {handle.inode};
  op.repeatable = false;
  op.silent = true;
  const bool unsure = captures && open.unsure;
  if (captures && !unsure) op.after.Capture(handle.inode);
  op.settle = [&] {
    if (unsure && (captures = WasCaptured(handle.inode))) states_.back().Capture(handle.inode);
    if (captures) Captured(handle.inode);
    if (handle.writable) Learn(handle.inode);
    LearnUnchanged(handle.inode);
  };
  const ContentId content = model().nodes.at(handle.inode).content;
  const bool done = Execute(std::move(op));
  if (handle.writable && --open.writers == 0) {
    open.wants_snapshot = false;
    Left(content);
  }
  if (--open.handles == 0) open_.erase(handle.inode);
  return done;
}

// --- bytes ---

void CoreWorld::Opened(InodeNumber inode, HandleId id, int flags) {
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  handles_.push_back({inode, id, flags, writable, false});
  OpenState& open = open_[inode];
  ++open.handles;
  if (!writable) return;
  if (open.writers == 0) open.snapshot_ns = store_.clock().MonotonicNs();
  ++open.writers;
  ++open.unclosed;
}

// "A file that is opened again for writing in place before its capture is stored
// continues the same version; truncation and replacement never do."
void CoreWorld::CheckContentRule(InodeNumber inode, int flags, ContentId before) {
  const ContentId now = ContentOf(inode);
  const bool writable = (flags & O_ACCMODE) != O_RDONLY;
  const auto facts = contents_.find(before);
  const bool stored = facts != contents_.end() && facts->second.stored;
  if ((flags & O_TRUNC) != 0) {
    if (captured_.contains(before) && now == before) Fail("a captured content was truncated");
  } else if (stored && writable) {
    if (now == before) Fail("a stored content is written in place");
  } else if (captured_.contains(before) && writable && open_.at(inode).writers == 1 &&
             model().NamedElsewhere(inode)) {
    if (now == before) Fail("a content that another version has goes on in place");
  } else if (before != 0 && now != before && !Peek(before).shared) {
    Fail("opening it gave it another content");
  }
}

bool CoreWorld::Open(InodeNumber inode, int flags) {
  HandleId handle = 0;
  const ContentId before = model().nodes.at(inode).content;
  const bool truncate = (flags & O_TRUNC) != 0;
  const BytesPointer empty = MakeBytes({});
  Operation op{"open " + std::to_string(inode) + " flags " + std::to_string(flags), [&] {
                 const Result<varve::Opened> opened =
                     store_.parts().live().Open(kRoot, inode, flags);
                 if (opened.ok()) handle = opened->handle;
                 return opened.status();
               }};
  op.after = model();
  op.unsettled = {inode};
  if (truncate) {
    op.torn_between[inode] = {model().nodes.at(inode).bytes, empty};
    CaptureEnding(&op.after, inode);
    op.after.nodes.at(inode).bytes = empty;
    if (before != 0 && !captured_.contains(before)) AddState(inode, empty);
  }
  op.settle = [&] {
    Opened(inode, handle, flags);
    CheckContentRule(inode, flags, before);
    Learn(inode);
    if (model().nodes.at(inode).content != before) Left(before);
    if (!truncate || before == 0) return;
    open_.at(inode).touched = true;
    if ((flags & O_ACCMODE) != O_RDONLY || !WouldCapture(inode)) return;
    states_.back().Capture(inode);
    Captured(inode);
  };
  return Execute(std::move(op));
}

bool CoreWorld::Write(size_t index, uint64_t offset, const std::string& bytes) {
  const Handle handle = handles_[index];
  const BytesPointer before = model().nodes.at(handle.inode).bytes;
  if ((handle.flags & O_APPEND) != 0) offset = before->size();
  std::string changed = Resized(*before, std::max<uint64_t>(before->size(), offset + bytes.size()));
  changed.replace(offset, bytes.size(), bytes);
  const BytesPointer after = MakeBytes(std::move(changed));
  Operation op{"write " + std::to_string(handle.inode) + " at " + std::to_string(offset) + " +" +
                   std::to_string(bytes.size()),
               [&] {
                 return store_.parts().live().Write(handle.inode, handle.id, offset, AsBytes(bytes),
                                                    false);
               }};
  op.after = model();
  op.unsettled = {handle.inode};
  op.torn_between[handle.inode] = {before, after};
  SetBytes(&op.after, handle.inode, after);
  open_.at(handle.inode).touched = true;  // also if it fails half done
  return Execute(std::move(op));
}

bool CoreWorld::Punch(size_t index, uint64_t offset, uint64_t size) {
  const Handle handle = handles_[index];
  const BytesPointer before = model().nodes.at(handle.inode).bytes;
  std::string changed = *before;
  const uint64_t end = std::min<uint64_t>(changed.size(), offset + size);
  for (uint64_t at = offset; at < end; ++at) changed[at] = '\0';
  const BytesPointer after = MakeBytes(std::move(changed));
  Operation op{"punch " + std::to_string(handle.inode) + " at " + std::to_string(offset) + " +" +
                   std::to_string(size),
               [&] {
                 return store_.parts().live().Allocate(handle.inode, handle.id,
                                                       FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                                       {offset, size}, false);
               }};
  op.after = model();
  op.unsettled = {handle.inode};
  op.torn_between[handle.inode] = {before, after};
  SetBytes(&op.after, handle.inode, after);
  open_.at(handle.inode).touched = true;
  return Execute(std::move(op));
}

bool CoreWorld::Truncate(InodeNumber inode, uint64_t size, std::optional<size_t> index) {
  const ModelNode& node = model().nodes.at(inode);
  const BytesPointer before = node.bytes;
  const BytesPointer after = MakeBytes(Resized(*before, size));
  std::optional<HandleId> handle;
  if (index) handle = handles_[*index].id;
  Operation op{"truncate " + std::to_string(inode) + " to " + std::to_string(size) +
                   (handle ? " by handle" : ""),
               [&] {
                 AttributeChange change;
                 change.size_bytes = size;
                 return store_.parts().live().SetAttributes(kRoot, inode, change, handle).status();
               }};
  op.after = model();
  op.unsettled = {inode};
  op.torn_between[inode] = {before, after};
  const bool nothing = size == 0 && node.content == 0;
  if (!nothing && size == 0) CaptureEnding(&op.after, inode);
  if (!nothing && (size > 0 || !captured_.contains(node.content))) AddState(inode, after);
  op.after.nodes.at(inode).bytes = after;
  op.settle = [&] {
    if (nothing) return;
    const ContentId old_content = model().nodes.at(inode).content;
    Learn(inode);
    if (model().nodes.at(inode).content != old_content) {
      Left(old_content);
      DropState(old_content, after);
    }
    OpenState& open = open_[inode];
    open.touched = true;
    MarkDrifting(model(), &drifting_);
    if (!handle && model().LinksOf(inode) > 0) {
      states_.back().Capture(inode);
      Captured(inode);
    }
    if (open.handles == 0) open_.erase(inode);
  };
  return Execute(std::move(op));
}

void CoreWorld::Read(size_t index) {
  const Handle handle = handles_[index];
  if ((handle.flags & O_ACCMODE) == O_WRONLY || !alive()) return;
  const std::string& bytes = *model().nodes.at(handle.inode).bytes;
  const uint64_t offset = random_.Below(bytes.size() + 10);
  const size_t size = static_cast<size_t>(random_.Between(1, 300'000));
  Note("read " + std::to_string(handle.inode) + " at " + std::to_string(offset));
  const Result<ReadReply> reply = store_.parts().live().Read(handle.inode, handle.id, offset, size);
  if (!reply.ok()) {
    if (!FaultHit() && !store_.crashed()) Fail("it failed: " + reply.status().ToString());
    return;
  }
  std::string read;
  for (const ByteView part : reply->parts) read.append(AsText(part));
  const std::string want = offset < bytes.size() ? bytes.substr(offset, size) : "";
  if (read != want) Fail("it read " + Describe(read) + ", not " + Describe(want));
}

void CoreWorld::ReadAnyVersion() {
  std::vector<std::pair<LinkName, VersionNumber>> all;
  for (const auto& [inode, node] : model().nodes) {
    if (!S_ISDIR(node.mode)) continue;
    for (const auto& [key, name] : model().history)
      if (key.first == node.history)
        for (const auto& [number, version] : name.versions)
          all.push_back({{inode, key.second}, number});
  }
  if (all.empty() || !alive()) return;
  const auto& [place, number] = all[random_.Below(all.size())];
  Note("read version " + std::to_string(place.parent) + "/" + place.name + " " +
       std::to_string(number));
  const Result<std::string> bytes = ReadVersion(store_.parts(), place, number);
  if (!bytes.ok()) {
    if (!FaultHit() && !store_.crashed()) Fail("it failed: " + bytes.status().ToString());
    return;
  }
  const ModelName& name = model().history.at({model().nodes.at(place.parent).history, place.name});
  const ModelVersion& version = name.versions.at(number);
  if (*bytes == *version.bytes || drifting_.contains(version.content)) return;
  const InodeNumber inode = model().Find(place);
  const auto open = open_.find(inode);
  const bool ahead = number == name.last && open != open_.end() && open->second.touched &&
                     model().nodes.at(inode).content == version.content;
  if (!ahead)
    Fail("content " + std::to_string(version.content) + " has " + Describe(*bytes) + ", not " +
         Describe(*version.bytes));
}

}  // namespace varve::testing
