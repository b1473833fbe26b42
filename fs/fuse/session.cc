#include "fs/fuse/session.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "fs/fuse/fast_paths.h"
#include "fs/fuse/handlers.h"
#include "fs/fuse/read_ahead.h"
#include "fs/fuse/request.h"
#include "fs/fuse/unmount.h"
#include "store/base/log.h"

namespace varve {
namespace {

constexpr unsigned kTransferBytesMax = 1u << 20;  // of one READ or WRITE
constexpr unsigned kBackgroundMax = 128;          // requests the kernel may have waiting

// libfuse's messages. Errors of mount(2) are the ones that users meet.
__attribute__((format(printf, 2, 0))) void LogFromLibfuse(fuse_log_level level, const char* format,
                                                          va_list values) {
  char text[512];
  if (std::vsnprintf(text, sizeof(text), format, values) < 0) return;
  std::string_view line(text);
  while (!line.empty() && line.back() == '\n') line.remove_suffix(1);
  if (level <= FUSE_LOG_ERR) {
    LogError("libfuse: {}", line);
  } else if (level <= FUSE_LOG_NOTICE) {
    LogWarning("libfuse: {}", line);
  } else {
    LogDebug("libfuse: {}", line);
  }
}

// "," and "\" separate and escape in option lists.
std::string Escaped(std::string_view value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

// What becomes of the arguments of fuse_session_new().
class Arguments {
 public:
  Arguments() { Add("varve"); }
  ~Arguments() { fuse_opt_free_args(&arguments_); }
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  void Add(const std::string& word) { fuse_opt_add_arg(&arguments_, word.c_str()); }
  void AddOption(const std::string& option) { Add("-o" + option); }
  fuse_args* get() { return &arguments_; }

 private:
  fuse_args arguments_{};
};

struct SessionDeleter {
  void operator()(fuse_session* session) const { fuse_session_destroy(session); }
};

}  // namespace

class Session::Impl {
 public:
  explicit Impl(SessionOptions options) : options_(std::move(options)) {}

  Status Create();
  Status Mount(Volume& volume);
  Status Serve(const std::function<void()>& on_live);
  void Stop();

  KernelLink& link() { return link_; }
  const Metrics& metrics() const { return context_.metrics; }

 private:
  void Negotiate(fuse_conn_info* connection);
  void GoLive();
  void OnBackingRefused(int os_errno) EXCLUDES(mutex_);

  const SessionOptions options_;
  HandlerContext context_;
  KernelLink link_;
  std::unique_ptr<fuse_session, SessionDeleter> session_;
  std::function<void()> on_live_;
  bool passthrough_wanted_ = false;

  Mutex mutex_;
  MountFacts facts_ GUARDED_BY(mutex_);
  bool mounted_ GUARDED_BY(mutex_) = false;
  bool stopping_ GUARDED_BY(mutex_) = false;
};

Status Session::Impl::Create() {
  fuse_set_log_func(LogFromLibfuse);
  {
    MutexLock lock(mutex_);
    facts_.version = options_.version;
    facts_.passthrough_reason =
        options_.passthrough ? WhyNoPassthrough() : std::string("switched off with no_passthrough");
    facts_.io_uring_reason = options_.io_uring ? WhyNoIoUring() : options_.io_uring_reason;
    facts_.passthrough = facts_.passthrough_reason.empty();
    facts_.io_uring = facts_.io_uring_reason.empty();
  }

  Arguments arguments;
  arguments.AddOption("fsname=" + Escaped(options_.store_path));
  arguments.AddOption("subtype=varvefs");
  arguments.AddOption("default_permissions");
  arguments.AddOption(fmt::format("max_read={}", kTransferBytesMax));
  if (options_.allow_other) arguments.AddOption("allow_other");
  for (const std::string& flag : options_.mount_flags) arguments.AddOption(flag);
  {
    MutexLock lock(mutex_);
    if (facts_.io_uring) arguments.AddOption("io_uring");
  }

  context_.on_init = [this](fuse_conn_info* connection) {
    Negotiate(connection);
    GoLive();
  };
  context_.on_first_open = [this] { WidenReadAhead(options_.mount_point); };
  const fuse_lowlevel_ops handlers = MakeHandlers();
  session_.reset(fuse_session_new(arguments.get(), &handlers, sizeof(handlers), &context_));
  if (session_ == nullptr) {
    return Status(Code::kInvalid, "the mount options are not understood by libfuse");
  }
  return Status();
}

void Session::Impl::Negotiate(fuse_conn_info* connection) {
  connection->max_write = kTransferBytesMax;
  connection->max_read = kTransferBytesMax;
  connection->max_background = kBackgroundMax;
  connection->congestion_threshold = kBackgroundMax / 4 * 3;
  connection->time_gran = 1;
  connection->no_interrupt = 1;
  for (const uint64_t flag :
       {FUSE_CAP_PARALLEL_DIROPS, FUSE_CAP_HANDLE_KILLPRIV_V2, FUSE_CAP_DIRECT_IO_ALLOW_MMAP,
        FUSE_CAP_EXPLICIT_INVAL_DATA, FUSE_CAP_EXPORT_SUPPORT}) {
    fuse_set_feature_flag(connection, flag);
  }
  // All changes go through this kernel or are announced by InvalidateNode(). With the
  // automatic way, every change of mtime would throw away the cached pages, the
  // ones that were just written too.
  fuse_unset_feature_flag(connection, FUSE_CAP_AUTO_INVAL_DATA);
  // Loses acknowledged writes when the daemon dies, and excludes passthrough.
  fuse_unset_feature_flag(connection, FUSE_CAP_WRITEBACK_CACHE);

  MutexLock lock(mutex_);
  // Both came with Linux 6.6; one has a flag of its own.
  facts_.direct_writes = fuse_get_feature_flag(connection, FUSE_CAP_DIRECT_IO_ALLOW_MMAP);
  if (facts_.passthrough && !fuse_set_feature_flag(connection, FUSE_CAP_PASSTHROUGH)) {
    facts_.passthrough = false;
    facts_.passthrough_reason = "this kernel has no FUSE passthrough (6.9 has)";
  }
  if (facts_.passthrough) {
    connection->max_backing_stack_depth =
        IsStacked(options_.store_path) ? FUSE_BACKING_STACKED_OVER : FUSE_BACKING_STACKED_UNDER;
  }
  if (facts_.io_uring && !fuse_get_feature_flag(connection, FUSE_CAP_OVER_IO_URING)) {
    facts_.io_uring = false;
    facts_.io_uring_reason = "the kernel did not offer it";
  }
  passthrough_wanted_ = facts_.passthrough;
}

void Session::Impl::GoLive() {
  {
    MutexLock lock(mutex_);
    context_.volume->SetMountFacts(facts_);
  }
  link_.Start(session_.get(), passthrough_wanted_,
              [this](int os_errno) { OnBackingRefused(os_errno); });
  if (on_live_) on_live_();
}

void Session::Impl::OnBackingRefused(int os_errno) {
  MutexLock lock(mutex_);
  facts_.passthrough = false;
  facts_.passthrough_reason =
      os_errno == ELOOP ? "the store's filesystem is stacked too deeply"
                        : fmt::format("the kernel refused it ({})", std::strerror(os_errno));
  LogWarning("passthrough is off: {}", facts_.passthrough_reason);
  context_.volume->SetMountFacts(facts_);
}

Status Session::Impl::Mount(Volume& volume) {
  context_.volume = &volume;
  if (fuse_session_mount(session_.get(), options_.mount_point.c_str()) != 0) {
    return Status(Code::kIo,
                  fmt::format("the kernel refused to mount on {}", options_.mount_point));
  }
  MutexLock lock(mutex_);
  mounted_ = true;
  return Status();
}

Status Session::Impl::Serve(const std::function<void()>& on_live) {
  on_live_ = on_live;
  fuse_loop_config* const config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, options_.threads_max);
  fuse_loop_cfg_set_clone_fd(config, 0);
  const int result = fuse_session_loop_mt(session_.get(), config);
  fuse_loop_cfg_destroy(config);

  link_.Stop();
  fuse_session_unmount(session_.get());
  MutexLock lock(mutex_);
  mounted_ = false;
  // Who takes a mount away that is in use breaks the connection.
  if (result < 0 && !stopping_)
    return Status::Errno(-result, "the connection to the kernel failed");
  return Status();
}

void Session::Impl::Stop() {
  {
    MutexLock lock(mutex_);
    if (stopping_ || !mounted_) return;
    stopping_ = true;
  }
  const Status unmounted = Unmount(options_.mount_point);
  if (unmounted.ok()) return;  // the kernel ends the session
  LogWarning("{} is in use ({}); taking it away all the same", options_.mount_point, unmounted);
  link_.Stop();
  fuse_session_exit(session_.get());
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::Open(SessionOptions options) {
  auto impl = std::make_unique<Impl>(std::move(options));
  RETURN_IF_ERROR(impl->Create());
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

KernelChannel& Session::channel() { return impl_->link(); }
const Metrics& Session::metrics() const { return impl_->metrics(); }
Status Session::Mount(Volume& volume) { return impl_->Mount(volume); }
Status Session::Serve(const std::function<void()>& on_live) { return impl_->Serve(on_live); }
void Session::Stop() { impl_->Stop(); }

}  // namespace varve
