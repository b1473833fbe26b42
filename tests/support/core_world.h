// The real core on a simulated machine, driven at random and compared with a Model.
//
// A life is: Open(), which judges what the last life left; any number of steps; and
// an end. Every acknowledged operation changes the model; what a crash or a fault
// interrupted may have happened or not. After a power cut the store may show any
// state since the last promise (an fsync, a commit), but one that existed.
//
// What the store alone decides (numbers, which content a file has) is read from its
// rows; the rules about them are checked (core_world_files.cc).
//
// Threads: belongs to one thread. Failures are GoogleTest's, with the last steps.
#pragma once

#include <deque>
#include <functional>
#include <optional>

#include "tests/support/core_judge.h"
#include "tests/support/random.h"
#include "tests/support/sim_store.h"

namespace varve::testing {

enum class Ending { kUmount, kProcessDeath, kPowerCut };

class CoreWorld {
 public:
  explicit CoreWorld(uint64_t seed);
  ~CoreWorld();

  SimStore& store() { return store_; }
  Random& random() { return random_; }

  // Fails only if a fault is expected; then is_open() is false.
  void Open();
  bool is_open() const { return store_.is_open(); }
  // False when the machine has crashed, or a check failed.
  bool alive();
  void Step();
  // All that is shown is right, and fsck finds nothing wrong.
  void Check();
  // Closes what is open; returns false if something is not stored afterwards.
  bool Drain();
  void End(Ending ending);

  // One call of the disk fails, or one that changes something; so many from now.
  void FailCall(uint64_t calls, int os_errno);
  void FailChange(uint64_t changes, int os_errno);
  // The machine dies at a change of the disk or a write of the index; `changes` from now.
  void CrashAt(uint64_t changes) { store_.disk().CrashAt(store_.disk().change_count() + changes); }
  void CrashAtIndexWrite(uint64_t writes, bool written) {
    store_.CrashAtIndexWrite(store_.index_writes() + writes, written);
  }

  // Operations. Each is an attempt, and returns false if it failed.
  bool Create(const LinkName& place, int flags);
  bool Make(const LinkName& place, mode_t mode);
  bool Symlink(const LinkName& place);
  bool Link(InodeNumber inode, const LinkName& place);
  bool Unlink(const LinkName& place);
  bool RemoveDirectory(const LinkName& place);
  bool Rename(const LinkName& from, const LinkName& to, unsigned flags);
  bool ChangeMode(InodeNumber inode, mode_t mode);
  bool ChangeOwner(InodeNumber inode, uid_t uid);
  bool ChangeTimes(InodeNumber inode);
  bool SetXattr(InodeNumber inode, const std::string& name, const std::string& value);
  bool RemoveXattr(InodeNumber inode, const std::string& name);
  bool Open(InodeNumber inode, int flags);
  bool Write(size_t handle, uint64_t offset, const std::string& bytes);
  bool Truncate(InodeNumber inode, uint64_t size, std::optional<size_t> handle);
  bool Punch(size_t handle, uint64_t offset, uint64_t size);
  bool Flush(size_t handle);
  bool Release(size_t handle);
  bool Fsync(size_t handle);
  bool FsyncDirectory();
  bool Sync();  // user.varve.sync
  bool Pin(InodeNumber directory, const std::string& name);
  bool Unpin(InodeNumber directory, const std::string& name);
  void Read(size_t handle);
  void ReadAnyVersion();
  void Digest();
  void Beat();
  void Collect();
  void ForgetNewest();     // the kernel does, of what it knows
  void RemoveForgotten();  // what has no names and nobody knows any more
  void Wait(int64_t ns) { store_.clock().Advance(ns); }

  const Model& model() const { return states_.back(); }
  size_t handles() const { return handles_.size(); }
  // What the tests count, to prove that they test something.
  struct Counters {
    uint64_t steps = 0, versions = 0, stored = 0, power_cuts = 0, deaths = 0;
    uint64_t captures = 0, copies = 0;
    uint64_t states_lost = 0, fallen_back = 0, torn = 0, finished = 0, faults = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Handle {
    InodeNumber inode = 0;
    HandleId id = 0;
    int flags = 0;
    bool writable = false;
    bool flushed = false;
  };
  // What the open descriptors of an inode have in common.
  struct OpenState {
    unsigned handles = 0;
    unsigned writers = 0;
    unsigned unclosed = 0;
    bool touched = false;  // changed since it was captured
    bool unsure = false;   // perhaps: a change failed
    int64_t snapshot_ns = 0;
    bool wants_snapshot = false;
  };
  struct Operation {
    std::string what;
    std::function<Status()> run;
    int expected = 0;                              // errno
    Model after = {};                              // if it succeeds
    std::optional<LinkName> makes = std::nullopt;  // a node with the number kNewInode
    std::set<InodeNumber> unsettled = {};
    std::map<InodeNumber, std::vector<BytesPointer>> torn_between = {};
    // After success: learns what the store decided.
    std::function<void()> settle = [] {};
    bool repeatable = true;
    bool silent = false;  // it may fail and not tell
    bool syncs = false;
  };
  static constexpr InodeNumber kNewInode = ~InodeNumber{0};

  bool Execute(Operation op);
  void Adopt(Operation op);
  bool HandleFault(Operation op, const Status& status);
  bool FaultHit();
  bool Fenced() const;
  void Fail(const std::string& why);
  void Note(std::string what);

  // core_world_recovery.cc
  void JudgeRecovery();
  Expected ExpectedOf(const Model& model, const Operation* interrupted, Moment moment) const;
  static void Renumber(Model* model, const LinkName& place, const Dump& dump);
  void Restart(Model model, const Dump& dump, Moment moment);
  void LearnBases();
  void Promise();
  void MarkDrifting(const Model& model, std::set<ContentId>* drifting) const;

  // core_world_files.cc
  ContentRecord Peek(ContentId content);
  ContentId ContentOf(InodeNumber inode);
  void Learn(InodeNumber inode);
  void LearnStored();
  void Left(ContentId content);
  void CheckClosedIsDurable();
  bool WouldCapture(InodeNumber inode) const;
  // For one that is unsure: what the store decided.
  bool WasCaptured(InodeNumber inode);
  void CaptureEnding(Model* model, InodeNumber inode) const;
  void Captured(InodeNumber inode);
  void SetBytes(Model* model, InodeNumber inode, const BytesPointer& bytes);
  void AddState(InodeNumber inode, const BytesPointer& bytes);
  void DropState(ContentId content, const BytesPointer& bytes);
  void LearnUnchanged(InodeNumber inode);
  void Opened(InodeNumber inode, HandleId id, int flags);
  void CheckContentRule(InodeNumber inode, int flags, ContentId before);
  bool TakesSnapshot(InodeNumber inode, const OpenState& open);

  // core_world_captures.cc
  // The store has captured directories: they show what the model is now. `apart`: a
  // power cut may take them back by themselves.
  void LearnCaptures(bool apart);
  void LearnCapturedFile(InodeNumber inode, const DirectoryVersionRecord& record, ModelNode* node);

  // core_world_steps.cc
  InodeNumber AnyDirectory();
  InodeNumber AnyFile();  // 0: there is none
  LinkName AnyPlace();
  LinkName AnyName();
  std::string AnyBytes();
  std::optional<size_t> AnyHandle(bool writable);
  void StepNames();
  void StepAttributes();
  void StepFile();
  void StepHandle(size_t handle);
  void StepBackground();

  Random random_;
  SimStore store_;
  std::vector<Model> states_;  // since the last promise; the last one is now
  Contents contents_;
  Model::Captured captured_;
  varve::Moment moment_ = 0;  // captures before it are known
  std::set<ContentId> drifting_;
  std::set<InodeNumber> unsettled_;  // for good, by an operation that failed half done
  std::vector<Handle> handles_;
  std::map<InodeNumber, OpenState> open_;
  std::vector<std::pair<InodeNumber, uint64_t>> known_;  // lookups not forgotten
  std::vector<std::string> blobs_;                       // written before

  std::optional<Operation> interrupted_;
  bool dead_ = false;
  std::optional<Moment> last_end_;
  std::optional<uint64_t> faults_before_;  // when one was ordered
  bool fault_handled_ = false;
  Counters counters_;
  std::deque<std::string> notes_;
};

}  // namespace varve::testing
