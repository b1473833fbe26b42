#include "store/base/log.h"

#include <fmt/args.h>
#include <spdlog/sinks/rotating_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/sinks/syslog_sink.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <exception>
#include <utility>
#include <vector>

namespace varve {
namespace {

constexpr char kName[] = "varve";
constexpr size_t kFileBytesMax = size_t{4} << 20;
constexpr size_t kOldFiles = 3;

spdlog::level::level_enum LevelOf(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Control characters as \xNN. Bytes beyond ASCII stay: names are UTF-8 as a rule.
std::string Escaped(std::string_view text) {
  std::string escaped;
  escaped.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      escaped += fmt::format("\\x{:02x}", byte);
    } else {
      escaped += c;
    }
  }
  return escaped;
}

std::shared_ptr<spdlog::logger> MakeLogger(const LogOptions& options) {
  std::vector<spdlog::sink_ptr> sinks;
  if (options.standard_error) {
    sinks.push_back(std::make_shared<spdlog::sinks::stderr_sink_mt>());
    sinks.back()->set_pattern("varve: %l: %v");
  }
  if (!options.file.empty()) {
    sinks.push_back(std::make_shared<spdlog::sinks::rotating_file_sink_mt>(
        options.file, kFileBytesMax, kOldFiles));
    sinks.back()->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %P %l: %v");
  }
  if (options.syslog) {
    sinks.push_back(std::make_shared<spdlog::sinks::syslog_sink_mt>(kName, LOG_PID, LOG_DAEMON,
                                                                    /*enable_formatting=*/true));
    sinks.back()->set_pattern("%v");
  }
  auto logger = std::make_shared<spdlog::logger>(kName, sinks.begin(), sinks.end());
  logger->set_level(LevelOf(options.level));
  // A line that is still in a buffer when the process is killed explains nothing.
  logger->flush_on(spdlog::level::debug);
  return logger;
}

}  // namespace

Status InitLog(const LogOptions& options) {
  errno = 0;
  try {
    auto logger = MakeLogger(options);
    spdlog::drop(kName);
    spdlog::register_logger(std::move(logger));
    return {};
  } catch (const std::exception& exception) {
    const int os_errno = errno != 0 ? errno : EIO;
    return Status::Errno(os_errno, std::string("open the log: ") + exception.what());
  }
}

std::string FormatLogLine(std::string_view format, std::initializer_list<LogValue> values) {
  fmt::dynamic_format_arg_store<fmt::format_context> arguments;
  for (const LogValue& value : values) {
    std::visit(
        [&arguments](const auto& held) {
          if constexpr (std::is_convertible_v<decltype(held), std::string_view>) {
            arguments.push_back(Escaped(held));
          } else {
            arguments.push_back(held);
          }
        },
        value.value());
  }
  try {
    return fmt::vformat(fmt::string_view(format.data(), format.size()), arguments);
  } catch (const std::exception&) {
    return std::string(format);  // a wrong format must not cost the line
  }
}

namespace log_internal {

void Write(LogLevel level, std::string_view format,
           std::initializer_list<LogValue> values) noexcept {
  try {
    const auto logger = spdlog::get(kName);
    if (logger && !logger->should_log(LevelOf(level))) return;
    const std::string line = FormatLogLine(format, values);
    if (logger) {
      logger->log(LevelOf(level), spdlog::string_view_t(line.data(), line.size()));
    } else if (level >= LogLevel::kWarning) {
      std::fprintf(stderr, "varve: %s\n", line.c_str());
    }
  } catch (...) {
    // Out of memory, or a sink that throws. A log that fails must not stop the rest.
  }
}

}  // namespace log_internal
}  // namespace varve
