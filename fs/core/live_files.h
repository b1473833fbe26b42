// The open live files, and how a file's content changes its state:
//
//   live ──close after a change──▶ captured ──digest──▶ stored (── maybe hot)
//     ▲                               │ in-place reopen      │ reopen for writing
//     └───────────────────────────────┘                      ▼
//                                              a new live content, based on it
//
// Truncation to nothing and replacement never continue a content: they begin a
// new one, and the old one goes on to be stored.
//
// It knows contents, staging files and the kernel's I/O modes; names and
// permissions are LiveNodes' business.
//
// Threads: methods that end in Locked need Tree::mutex(); those that may wait
//          release it meanwhile, and say so. (The analysis of locks cannot name a
//          mutex across objects; what waits on it is exempt by annotation.)
// Errors:  as a system call would; nothing is half done.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_map>

#include "fs/core/content_opener.h"
#include "fs/core/content_store.h"
#include "fs/core/history_writer.h"
#include "fs/core/hot_cache.h"
#include "fs/core/kernel_channel.h"
#include "fs/core/open_file.h"
#include "fs/core/stage_area.h"
#include "fs/core/status_attributes.h"
#include "fs/core/tree.h"

namespace varve {

// What the digester does for the files, as a seam against a cycle.
class DigestQueue {
 public:
  virtual ~DigestQueue() = default;
  // A captured content wants to be stored. Called with Tree::mutex() held.
  virtual void Enqueue(ContentId content) = 0;
  // Stops a running digest of this content and returns once its lease is gone.
  // Releases Tree::mutex() while it waits.
  virtual void CancelLocked(ContentId content) = 0;
  // Stores a captured content before others and waits for it, but not for long:
  // somebody may still hold its staging file open for writing.
  virtual void StoreNowLocked(ContentId content) = 0;
};

class LiveFiles final : public OverlayLog, public VersionReader {
 public:
  struct Dependencies {
    Tree& tree;
    StageArea& stages;
    ContentStore& contents;
    HistoryWriter& history;
    KernelChannel& kernel;
    Clock& clock;
    bool passthrough = true;
    bool direct_writes = false;
  };
  explicit LiveFiles(const Dependencies& dependencies) : d_(dependencies) {}

  void SetDigestQueue(DigestQueue* queue) { queue_ = queue; }
  void SetPassthrough(bool on) { d_.passthrough = on; }
  void SetDirectWrites(bool on) { d_.direct_writes = on; }

  // Makes the content and staging file of a new regular file; adds its rows.
  struct Fresh {
    ContentId content = 0;
    ContentRecord record;
    std::shared_ptr<File> stage;
  };
  Result<Fresh> NewContent(InodeNumber inode, ContentId base, Batch* batch);
  // A file that was just made with `fresh`.
  std::shared_ptr<OpenFile> AdoptLocked(InodeNumber inode, Fresh fresh);

  // The open file of an inode, loaded if need be, for one user at a time: what a user
  // waits for while the mutex is released, no other user changes. `record` is the
  // inode's after the wait. REQUIRES: a later DoneLocked.
  Result<std::shared_ptr<OpenFile>> UseLocked(InodeNumber inode,
                                              InodeRecord* record) NO_THREAD_SAFETY_ANALYSIS;
  // Ends what UseLocked began; drops the file when nobody has it.
  void DoneLocked(const std::shared_ptr<OpenFile>& file);
  std::shared_ptr<OpenFile> FindLocked(InodeNumber inode) const;
  std::vector<std::shared_ptr<OpenFile>> AllLocked() const;

  // Makes the bytes readable / writable in place / begins an empty content.
  // `record` is the inode's: written where the content changes, and read again where
  // somebody else may have written it during a wait.
  Status ReadyToReadLocked(OpenFile& file, const InodeRecord& record);
  Status ReadyToWriteLocked(OpenFile& file, InodeRecord* record);
  Status RewriteLocked(OpenFile& file, InodeRecord* record);

  // Decides the I/O mode and counts the handle.
  Result<Opened> OpenLocked(const std::shared_ptr<OpenFile>& file, const InodeRecord& record,
                            const OpenRequest& request);
  // Makes a range of `to` show the same range of `from`, without moving bytes, and
  // returns up to where; 0 where that cannot be done. Both have a handle, and nobody
  // writes to `to` meanwhile.
  Result<uint64_t> ShareRangeLocked(const OpenFile& from, OpenFile& to, ByteRange range);
  // FLUSH, a close: the last writer's captures what was changed. One handle may be
  // flushed several times, by descriptors that share it.
  Status FlushLocked(FileHandle& handle);
  // An fsync: a file that stays open is captured then, at most once a minute. The
  // copy is made later, by TakeSnapshots.
  void WantSnapshotLocked(OpenFile& file, int64_t now_ns);
  // Captures the files that want it as they are now; one that is changing at the
  // moment is tried again at the next call. Takes the lock itself.
  void TakeSnapshots();
  // RELEASE: the handle is gone. Returns true when it was the last one.
  bool ReleaseLocked(FileHandle& handle);

  // A file that nobody has open, and that was not changed since it was made ready for that.
  void EndUncapturedLocked(OpenFile& file);

  // Nobody releases handles any more: whose writers have all been flushed is closed.
  void CloseFlushedLocked();

  // Size and times of a file whose staging file knows better than its record.
  Status RefreshLocked(OpenFile& file, InodeRecord* record);

  // utimensat: a staging file carries the times while its content is not stored.
  Status SetTimesLocked(OpenFile& file, const InodeRecord& record, bool access, bool modify);
  // What the status attributes (user.varve.*) of a live file tell.
  Result<StatusFacts> StatusLocked(InodeNumber inode, const InodeRecord& record);

  // The last name and the last handle are gone: drops what no version names. The
  // staging files that go with it are to be removed once the batch is applied.
  Status DropContentLocked(InodeNumber inode, ContentId content, Batch* batch,
                           std::vector<StageId>* dropped);
  void RemoveStages(const std::vector<StageId>& dropped) {
    for (const StageId stage : dropped) d_.stages.Remove(stage);
  }

  // A version of this content stays under a name that its inode loses: from now on
  // the content is as it was captured.
  Status AppendSharedLocked(ContentId content, Batch* batch);
  // A pending content that only its temporary name listed replaces another: that is what
  // a power cut leaves of it, wherever it is moved before it is durable.
  Status AppendReplacingLocked(ContentId content, ContentId replaced, Batch* batch);
  // Its staging file, and the name of that, were synced: a power cut leaves them.
  Status MarkDurableLocked(ContentId content, StageId stage);
  // Around Body::Sync, which takes the time of a disk and settles rows of an overlay.
  // Meanwhile the overlay has no other body, and does not end: a digest that is done
  // waits for the flush. REQUIRES: a content that is not captured has a handle.
  struct Flush {
    std::shared_ptr<OpenFile> file;  // null: there is nothing to flush
    std::shared_ptr<Body> body;
    ContentId content = 0;
    ContentRecord record;  // as it was when the flush began
  };
  Flush BeginFlushLocked(InodeNumber inode);
  void EndFlushLocked(const Flush& flush);
  bool IsFlushedLocked(ContentId content) const { return flushing_.count(content) != 0; }
  // fsync of a file whose content is another inode's, and pending: flushes that. Takes the
  // lock itself.
  Status FlushForeign(InodeNumber inode);
  // Flushes the staging file of a pending content, if it is one still, and settles its
  // extents. kBusy: it was written meanwhile. Takes the lock itself.
  Status FlushPending(ContentId content);
  // A staging file has just become the hot copy of what is stored.
  void NoteHotLocked() { stored_sequence_ = d_.tree.catalog().Stats().applied_sequence; }
  // Drops hot copies that nobody has open until they fit their share.
  void TrimHotLocked(HotCache* hot);

  // Files whose content somebody may still write, or that no version names: a captured
  // directory must not name it. What is closed, but not released, may be named.
  std::vector<InodeNumber> UnsettledLocked();

  // A copy of the staging file of what somebody is writing, for a captured directory. It
  // is no version of the file.
  struct Copied {
    InodeNumber inode = 0;
    ContentId source = 0;
    Stamp stamp;  // of the source, before and after
    StageId stage = 0;
    ContentId content = 0;
    bool fresh = false;  // it is no content yet
  };
  // Copies those of what is being written for which `wanted` is true, if they stand still
  // meanwhile. Takes the lock itself, and copies without.
  std::vector<Copied> CopyWritten(const std::function<bool(InodeNumber, uint64_t bytes)>& wanted);
  // Whether it still is what the file is.
  bool IsCurrentLocked(const Copied& copied) const;
  // Makes `record` show it.
  void AppendCopyLocked(const Copied& copied, InodeRecord* record, Batch* batch);
  // The batch was applied; or the copy is not wanted.
  void KeepCopyLocked(const Copied& copied);
  void DropCopy(const Copied& copied) {
    if (copied.fresh) d_.stages.Remove(copied.stage);
  }

  // What is open and changed becomes a version, or brings its version up to date.
  Status CaptureAllLocked();
  Status CaptureLocked(OpenFile& file, InodeRecord* record);

  // VersionReader, live_pending.cc.
  Result<std::shared_ptr<ContentReader>> OpenContent(ContentId content, uint64_t size_bytes,
                                                     std::string path) override;
  // OverlayLog.
  Status Log(const Batch& batch) override { return d_.tree.Apply(batch); }

  Result<std::shared_ptr<OverlayBody>> OpenOverlay(ContentId content, const ContentRecord& record,
                                                   OpenMode mode);
  CondVar& changed() { return changed_; }

 private:
  Status LoadLocked(OpenFile& file, const InodeRecord& record);
  Status OpenStageLocked(OpenFile& file, OpenMode mode);
  Status ShareCapturedLocked(OpenFile& file);
  // live_foreign.cc
  Status LoadRecordLocked(OpenFile& file);
  Status BeginOwnLocked(OpenFile& file, InodeRecord* record) NO_THREAD_SAFETY_ANALYSIS;
  Status AppendOwnCopyLocked(const ContentRecord& original, StageId copy, OpenFile& file,
                             InodeRecord* record);
  Status BeginHotLocked(OpenFile& file, InodeRecord* record);
  Status BeginOverlayLocked(OpenFile& file, InodeRecord* record);
  Status BeginFreshLocked(OpenFile& file, InodeRecord* record);
  Status BeginCopyLocked(OpenFile& file, InodeRecord* record);
  // `left` is what the present content keeps: its own staging file or none. The body
  // is ready to be written then.
  Status TakeOverStageLocked(OpenFile& file, const ContentRecord& left, InodeRecord* record);
  Status BeginSharedLocked(const OpenFile& from, OpenFile& to, uint64_t size);
  Status TakeOverOverlayLocked(OpenFile& file, const ContentRecord& left, InodeRecord* record);
  Status TruncateSharedLocked(OpenFile& file, InodeRecord* record);
  Status SyncStoredRowsLocked(OpenFile& file, InodeRecord* record) NO_THREAD_SAFETY_ANALYSIS;
  // A copy of its staging file, as durable as the original.
  Result<StageId> CopyAsideLocked(OpenFile& file, InodeRecord* record) NO_THREAD_SAFETY_ANALYSIS;
  Result<StageId> CopyStage(StageId source);
  Status TakeSnapshot(InodeNumber inode);
  void DropBackingLocked(OpenFile& file);
  Result<std::shared_ptr<ContentReader>> OpenPendingReader(ContentId content,
                                                           const ContentRecord& record,
                                                           uint64_t size_bytes,
                                                           const std::string& path);
  // Whether a content that was never written is what its base is.
  Result<bool> ShowsBase(ContentId content, const ContentRecord& record, uint64_t size_bytes);
  Status RevertLocked(OpenFile& file);
  void PutPendingLocked(ContentId content, const ContentRecord& record, Batch* batch);
  Status WaitForReleaseLocked(OpenFile& file, InodeRecord* record) NO_THREAD_SAFETY_ANALYSIS;
  void SettleLocked(OpenFile& file);

  Dependencies d_;
  DigestQueue* queue_ = nullptr;

  // Guarded by Tree::mutex().
  std::unordered_map<InodeNumber, std::shared_ptr<OpenFile>> files_;
  std::unordered_map<pid_t, unsigned> readers_;       // processes with handles to read only
  std::unordered_map<ContentId, unsigned> flushing_;  // how many flushes are under way
  std::set<InodeNumber> snapshots_;                   // inodes that want one
  std::set<InodeNumber> left_;    // nobody has them open, and no version names what they are
  uint64_t stored_sequence_ = 0;  // of the newest row that left a hot copy
  CondVar changed_;               // a handle was released, an exchange ended
};

}  // namespace varve
