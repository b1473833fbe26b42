#include "tests/support/core_judge.h"

#include <algorithm>

namespace varve::testing {

std::string Describe(const std::string& bytes) {
  uint64_t sum = 0;
  for (const char byte : bytes) sum = sum * 31 + static_cast<uint8_t>(byte);
  return std::to_string(bytes.size()) + " bytes (" + std::to_string(sum % 100'000) + ")";
}

namespace {

std::string Octal(mode_t mode) {
  char text[16];
  std::snprintf(text, sizeof(text), "%o", mode);
  return text;
}

class Judge {
 public:
  Judge(const Dump& dump, const Expected& expected) : dump_(dump), e_(expected) {}

  std::string Run() {
    if (!dump_.failures.empty()) return "unreadable: " + dump_.failures.front();
    std::set<InodeNumber> reachable;
    if (std::string found = Node(kRootNode, "", &reachable); !found.empty()) return found;
    return History();
  }

 private:
  std::string Node(InodeNumber inode, const std::string& path, std::set<InodeNumber>* seen);
  std::string Attributes(const DumpedNode& have, const ModelNode& want, InodeNumber inode) const;
  std::string File(const DumpedNode& have, const ModelNode& want, InodeNumber inode) const;
  std::string FileAfterPowerCut(const DumpedNode& have, const ModelNode& want,
                                InodeNumber inode) const;
  // In all that is known of it.
  bool WasEmpty(ContentId content) const;
  // The last that is known of it.
  bool EndsEmpty(ContentId content) const;
  std::string Lost(const DumpedNode& have, ContentId content) const;
  // Empty if the file may show `shown` in place of `newest`, which was not durable.
  std::string Alternative(ContentId shown, ContentId newest, InodeNumber inode) const;

  bool ShowsOlder(const DumpedNode& have, ContentId newest, InodeNumber inode) const;
  ContentId BaseOf(ContentId content) const;
  // It is `shown`, or was changed from it, or from what was; before any of `listed`.
  bool LeadsTo(ContentId content, ContentId shown, const std::set<ContentId>& listed = {}) const;

  std::string History() const;
  std::string Name(const Model::HistoryKey& key, const DumpedName& have,
                   const ModelName& want) const;
  std::string Missing(VersionNumber number, const ModelVersion& want) const;
  std::string Version(const DumpedVersion& have, const ModelVersion& want, bool newest,
                      const Model::HistoryKey& key) const;
  std::string Extra(const Model::HistoryKey& key, const DumpedVersion& have) const;

  // Captured directories.
  std::string Directories(const DumpedName& have, const ModelName& want) const;
  std::string Capture(const DumpedCapture& have, const ModelCapture& want) const;
  std::string CapturedFile(const DumpedNode& have, const ModelNode& want, InodeNumber inode) const;

  bool Promised(ContentId content) const {
    const auto facts = e_.contents.find(content);
    return facts != e_.contents.end() && facts->second.promised && !facts->second.torn;
  }
  bool Torn(ContentId content) const {
    const auto facts = e_.contents.find(content);
    return facts != e_.contents.end() && facts->second.torn;
  }
  bool Has(ContentId content, const std::string& bytes) const;
  // It begins with them: a capture shows no more than there was, although it went on.
  bool BeginsWith(ContentId content, const std::string& bytes) const;
  // The inode that has this name now, if its newest version may be ahead.
  InodeNumber UnsettledBy(const Model::HistoryKey& key) const;

  const Dump& dump_;
  const Expected& e_;
};

std::string Judge::Node(InodeNumber inode, const std::string& path, std::set<InodeNumber>* seen) {
  const auto have = dump_.nodes.find(inode);
  const auto want = e_.model.nodes.find(inode);
  if (have == dump_.nodes.end() || want == e_.model.nodes.end())
    return path + ": inode " + std::to_string(inode) + " is another one";
  if (!seen->insert(inode).second) return "";
  std::string found = Attributes(have->second, want->second, inode);
  if (found.empty() && S_ISREG(want->second.mode)) found = File(have->second, want->second, inode);
  if (!found.empty()) return (path.empty() ? "/" : path) + ": " + found;
  for (const auto& [name, child] : want->second.names) {
    const auto there = have->second.names.find(name);
    if (there == have->second.names.end()) return path + "/" + name + " is missing";
    if (there->second != child)
      return path + "/" + name + " is inode " + std::to_string(there->second) + ", not " +
             std::to_string(child);
    if (found = Node(child, path + "/" + name, seen); !found.empty()) return found;
  }
  for (const auto& [name, child] : have->second.names)
    if (!want->second.names.contains(name)) return path + "/" + name + " should not be there";
  return "";
}

std::string Judge::Attributes(const DumpedNode& have, const ModelNode& want,
                              InodeNumber inode) const {
  const struct stat& stat = have.stat;
  if (stat.st_mode != want.mode) return "mode " + Octal(stat.st_mode) + ", not " + Octal(want.mode);
  if (stat.st_uid != want.uid || stat.st_gid != want.gid) return "another owner";
  if (stat.st_nlink != e_.model.LinksOf(inode))
    return std::to_string(stat.st_nlink) + " links, not " + std::to_string(e_.model.LinksOf(inode));
  if (have.xattrs != want.xattrs) return "other xattrs";
  if (have.target != want.target) return "another target";
  if (S_ISDIR(want.mode) && have.history != want.history) return "another history";
  return "";
}

std::string Judge::File(const DumpedNode& have, const ModelNode& want, InodeNumber inode) const {
  if (have.stat.st_size != static_cast<off_t>(have.bytes.size()) && !e_.fenced &&
      !e_.half_done.contains(inode))
    return "content " + std::to_string(have.content) + " size " +
           std::to_string(have.stat.st_size) + ", but " + Describe(have.bytes);
  if (const auto torn = e_.torn_between.find(inode);
      torn != e_.torn_between.end() && IsMixOf(have.bytes, torn->second))
    return "";
  if (e_.moment == Moment::kPowerCut) return FileAfterPowerCut(have, want, inode);
  if (have.bytes != *want.bytes) return Describe(have.bytes) + ", not " + Describe(*want.bytes);
  return "";
}

bool Judge::BeginsWith(ContentId content, const std::string& bytes) const {
  const auto found = e_.contents.find(content);
  if (found == e_.contents.end()) return false;
  std::vector<BytesPointer> parts;
  for (const BytesPointer& state : found->second.states)
    parts.push_back(MakeBytes(state->substr(0, bytes.size())));
  if (found->second.promised) return IsMixOf(bytes, parts);
  return std::any_of(parts.begin(), parts.end(),
                     [&](const BytesPointer& part) { return *part == bytes; });
}

bool Judge::Has(ContentId content, const std::string& bytes) const {
  const auto found = e_.contents.find(content);
  if (found == e_.contents.end()) return false;
  const ContentFacts& facts = found->second;
  if (facts.promised) {
    return IsMixOf(bytes, facts.states);
  }
  return std::any_of(facts.states.begin(), facts.states.end(),
                     [&](const BytesPointer& state) { return *state == bytes; });
}

std::string Judge::FileAfterPowerCut(const DumpedNode& have, const ModelNode& want,
                                     InodeNumber inode) const {
  if (want.content == 0) {
    // Or it was changed next, and what it became is lost.
    if (have.bytes.empty() || ShowsOlder(have, 0, inode)) return "";
    return "it was empty, and has " + Describe(have.bytes);
  }
  if (have.content == want.content && Torn(have.content))
    return have.bytes.empty() && !have.complete ? "" : "it was torn, and is whole again";
  // What is synced and empty, or was never written, needs no content; nor does what ends
  // empty, where an fsync that was cut short, or a recovery, has made that durable.
  if (have.content == 0 && Has(want.content, have.bytes) &&
      (Promised(want.content) || EndsEmpty(want.content)))
    return "";
  if (have.torn || have.content == 0) {
    if (Promised(want.content)) return "its durable content is lost";
    std::string found = Alternative(0, want.content, inode);
    return found.empty() ? Lost(have, want.content) : found;
  }
  // Opened and not written, it is what it was.
  const bool reverted = have.content == BaseOf(want.content) && Has(want.content, have.bytes);
  if (have.content != want.content && !reverted) {
    if (Promised(want.content))
      return "its durable content " + std::to_string(want.content) + " is lost, it shows " +
             std::to_string(have.content);
    // Recovery may give a copy a number that the cut took back from another content.
    if (ShowsOlder(have, want.content, inode)) return "";
    if (std::string found = Alternative(have.content, want.content, inode); !found.empty())
      return found;
  }
  if (Has(have.content, have.bytes)) return "";
  return Describe(have.bytes) + " that content " + std::to_string(have.content) + " never had";
}

bool Judge::WasEmpty(ContentId content) const {
  const auto facts = e_.contents.find(content);
  return facts == e_.contents.end() ||
         std::all_of(facts->second.states.begin(), facts->second.states.end(),
                     [](const BytesPointer& state) { return state->empty(); });
}

bool Judge::EndsEmpty(ContentId content) const {
  const auto facts = e_.contents.find(content);
  return facts == e_.contents.end() || facts->second.states.back()->empty();
}

std::string Judge::Lost(const DumpedNode& have, ContentId content) const {
  if (!have.bytes.empty()) return "torn, and " + Describe(have.bytes);
  if (!WasEmpty(content) && have.complete) return "its bytes are lost, and it says it is complete";
  return "";
}

ContentId Judge::BaseOf(ContentId content) const {
  const auto facts = e_.contents.find(content);
  if (facts == e_.contents.end()) return 0;
  return facts->second.base != 0 ? facts->second.base : facts->second.replaced;
}

bool Judge::LeadsTo(ContentId content, ContentId shown, const std::set<ContentId>& listed) const {
  std::set<ContentId> seen;
  while (content != 0 && seen.insert(content).second) {
    if (content == shown) return true;
    content = BaseOf(content);
    if (listed.contains(content)) return false;
  }
  return false;
}

// A content that recovery has made, with the bytes of what the file may show.
bool Judge::ShowsOlder(const DumpedNode& have, ContentId newest, InodeNumber inode) const {
  return std::any_of(e_.contents.begin(), e_.contents.end(), [&](const auto& entry) {
    return Has(entry.first, have.bytes) && Alternative(entry.first, newest, inode).empty();
  });
}

std::string Judge::Alternative(ContentId shown, ContentId newest, InodeNumber inode) const {
  const bool known = shown == 0;
  bool any_promised = false;
  for (const LinkName& place : e_.model.NamesOf(inode)) {
    const auto name = e_.model.history.find({e_.model.nodes.at(place.parent).history, place.name});
    if (name == e_.model.history.end()) continue;
    bool later_promised = false;
    std::set<ContentId> listed;
    for (const auto& [number, version] : name->second.versions) listed.insert(version.content);
    if (LeadsTo(newest, shown, listed)) return "";
    for (auto version = name->second.versions.rbegin(); version != name->second.versions.rend();
         ++version) {
      const ContentId content = version->second.content;
      if (!later_promised && LeadsTo(content, shown, listed)) return "";
      if (content == newest) continue;
      later_promised |= Promised(content);
    }
    any_promised |= later_promised;
  }
  const auto facts = e_.contents.find(newest);
  const ContentId base = facts == e_.contents.end() ? 0 : facts->second.base;
  if (!known && !LeadsTo(newest, shown))
    return "it shows content " + std::to_string(shown) + ", which is not its own";
  if (any_promised)
    return "an earlier version of content " + std::to_string(newest) +
           " was durable, and it shows " + std::to_string(shown);
  if (shown == 0 && Promised(base)) return "what it was before was durable, and it is empty";
  return "";
}

std::string Judge::History() const {
  std::set<Model::HistoryKey> keys;
  for (const auto& [key, name] : e_.model.history) keys.insert(key);
  for (const auto& [key, name] : dump_.history) keys.insert(key);
  for (const Model::HistoryKey& key : keys) {
    const auto have = dump_.history.find(key);
    const auto want = e_.model.history.find(key);
    const std::string found = Name(key, have == dump_.history.end() ? DumpedName() : have->second,
                                   want == e_.model.history.end() ? ModelName() : want->second);
    if (!found.empty())
      return "versions of " + std::to_string(key.first) + "/" + key.second + ": " + found;
  }
  return "";
}

std::string Judge::Name(const Model::HistoryKey& key, const DumpedName& have,
                        const ModelName& want) const {
  if (have.counters.child_history != want.child)
    return "the history of a directory is " + std::to_string(have.counters.child_history) +
           ", not " + std::to_string(want.child);
  if (have.counters.last_version < want.last ||
      (e_.moment == Moment::kNow && have.counters.last_version != want.last))
    return "the last number is " + std::to_string(have.counters.last_version) + ", not " +
           std::to_string(want.last);
  for (const auto& [number, version] : want.versions) {
    const auto there = have.versions.find(number);
    const std::string found = there == have.versions.end()
                                  ? Missing(number, version)
                                  : Version(there->second, version, number == want.last, key);
    if (!found.empty()) return std::to_string(number) + ": " + found;
  }
  for (const auto& [number, version] : have.versions) {
    if (want.versions.contains(number)) continue;
    if (number <= want.last) return std::to_string(number) + " is back again";
    const std::string found = Extra(key, version);
    if (!found.empty()) return std::to_string(number) + ": " + found;
  }
  return Directories(have, want);
}

// One that is not known yet was made by the operation that is going on: it shows the
// state of now.
std::string Judge::Directories(const DumpedName& have, const ModelName& want) const {
  for (const auto& [number, capture] : want.directories)
    if (!have.directories.contains(number)) return "v" + std::to_string(number) + " is missing";
  for (const auto& [number, capture] : have.directories) {
    const auto known = want.directories.find(number);
    std::string found;
    if (known != want.directories.end()) {
      found = Capture(capture, *known->second);
    } else if (number <= want.last_directory) {
      found = "it is back again";
    } else {
      found = Capture(capture, e_.model.CaptureOf(capture.record));
      if (!found.empty()) found = "made just now: " + found;
    }
    if (!found.empty()) return "v" + std::to_string(number) + ": " + found;
  }
  for (const auto& [name, number] : want.pins) {
    const auto pin = have.pins.find(name);
    if (pin == have.pins.end() || pin->second != number) return "the pin " + name + " is missing";
  }
  for (const auto& [name, number] : have.pins)
    if (!want.pins.contains(name) && number <= want.last_directory)
      return "the pin " + name + " should not be there";
  return "";
}

std::string Judge::Capture(const DumpedCapture& have, const ModelCapture& want) const {
  if (have.record.moment != want.record.moment || have.record.inode != want.record.inode)
    return "another moment";
  for (const auto& [inode, node] : want.nodes) {
    const std::string who = "inode " + std::to_string(inode) + ": ";
    const auto there = have.nodes.find(inode);
    if (there == have.nodes.end()) return who + "missing";
    const DumpedNode& shown = there->second;
    if (shown.stat.st_mode != node.mode) return who + "another mode";
    if (shown.stat.st_uid != node.uid || shown.stat.st_gid != node.gid) return who + "owner";
    if (shown.xattrs != node.xattrs) return who + "other xattrs";
    if (shown.target != node.target) return who + "another target";
    if (shown.names != node.names) return who + "other names";
    if (!S_ISREG(node.mode)) continue;
    const std::string found = CapturedFile(shown, node, inode);
    if (!found.empty()) return who + found;
  }
  return have.nodes.size() == want.nodes.size() ? "" : "more than there was";
}

std::string Judge::CapturedFile(const DumpedNode& have, const ModelNode& want,
                                InodeNumber inode) const {
  if (e_.drifting.contains(have.content)) return "";
  if (have.stat.st_size != static_cast<off_t>(have.bytes.size()) && !have.torn)
    return "size " + std::to_string(have.stat.st_size) + ", but " + Describe(have.bytes);
  if (have.bytes == *want.bytes) return "";
  // What is being written has a version of its own (CoreWorld learns which).
  if (e_.unsettled.contains(inode) && have.content != want.content) return "";
  if (have.torn) {
    if (Torn(have.content)) return "";
    if (e_.moment != Moment::kPowerCut || Promised(want.content)) return "torn";
    return have.bytes.empty() ? "" : "torn, with bytes";
  }
  if (e_.moment == Moment::kPowerCut &&
      (Has(want.content, have.bytes) ||
       (have.bytes.size() == want.bytes->size() && BeginsWith(want.content, have.bytes))))
    return "";
  return "content " + std::to_string(have.content) + " has " + Describe(have.bytes) + ", not " +
         Describe(*want.bytes) + " of content " + std::to_string(want.content);
}

std::string Judge::Missing(VersionNumber, const ModelVersion& want) const {
  if (e_.moment != Moment::kPowerCut) return "missing";
  return Promised(want.content) ? "it was durable, and is missing" : "";
}

InodeNumber Judge::UnsettledBy(const Model::HistoryKey& key) const {
  for (const InodeNumber inode : e_.unsettled)
    for (const LinkName& place : e_.model.NamesOf(inode))
      if (e_.model.nodes.at(place.parent).history == key.first && place.name == key.second)
        return inode;
  return 0;
}

std::string Judge::Version(const DumpedVersion& have, const ModelVersion& want, bool newest,
                           const Model::HistoryKey& key) const {
  if (have.record.content != want.content) return "another content";
  if (have.content.torn) {
    if (Torn(want.content)) return "";
    if (e_.moment != Moment::kPowerCut || Promised(want.content)) return "torn";
    return have.bytes.empty() ? "" : "torn, with bytes";
  }
  if (have.bytes == *want.bytes || e_.drifting.contains(want.content)) return "";
  const InodeNumber inode = newest ? UnsettledBy(key) : 0;
  if (inode != 0 && e_.model.nodes.at(inode).content == want.content) {
    if (e_.moment == Moment::kNow) return "";
    if (have.bytes == dump_.nodes.at(inode).bytes) return "";
  }
  if (e_.moment == Moment::kPowerCut && Has(want.content, have.bytes)) return "";
  return "content " + std::to_string(want.content) + " has " + Describe(have.bytes) + ", not " +
         Describe(*want.bytes);
}

// A version that recovery has made.
std::string Judge::Extra(const Model::HistoryKey& key, const DumpedVersion& have) const {
  if (e_.moment == Moment::kNow) return "nobody made it";
  if (e_.moment == Moment::kProcessDeath) {
    const InodeNumber inode = UnsettledBy(key);
    if (inode == 0) return "nobody had it open";
    return have.bytes == dump_.nodes.at(inode).bytes ? "" : "not what its file is";
  }
  for (const auto& [inode, node] : e_.model.nodes) {
    for (const auto& [name, child] : node.names) {
      if (node.history != key.first || name != key.second) continue;
      const auto shown = dump_.nodes.find(child);
      if (shown != dump_.nodes.end() && shown->second.content == have.record.content &&
          shown->second.bytes == have.bytes)
        return "";
    }
  }
  return "not what its file is";
}

}  // namespace

std::string FindDifference(const Dump& dump, const Expected& expected) {
  return Judge(dump, expected).Run();
}

bool IsMixOf(const std::string& bytes, const std::vector<BytesPointer>& states) {
  size_t shortest = std::string::npos;
  size_t longest = 0;
  for (const BytesPointer& state : states) {
    shortest = std::min(shortest, state->size());
    longest = std::max(longest, state->size());
  }
  if (bytes.size() < shortest || bytes.size() > longest) return false;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const bool had = std::any_of(states.begin(), states.end(), [&](const BytesPointer& state) {
      return bytes[i] == (i < state->size() ? (*state)[i] : '\0');
    });
    if (!had) return false;
  }
  return true;
}

}  // namespace varve::testing
