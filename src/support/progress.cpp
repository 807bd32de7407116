// progress.cpp — see progress.h.
#include "support/progress.h"

#include <cstdio>
#include <unistd.h>

#include "support/check.h"

namespace skintern {

namespace {

constexpr int64_t kBarWidth = 24;
constexpr double kTerminalEvery = 0.1; // seconds between two drawings of the bar
constexpr double kPlainEvery = 15.0;   // seconds between two plain lines

std::string clock_text(double seconds) {
    const int64_t s = static_cast<int64_t>(seconds + 0.5);
    return format("%lld:%02lld", static_cast<long long>(s / 60), static_cast<long long>(s % 60));
}

} // namespace

Progress::Progress(std::string label, int64_t total, std::string unit)
    : label_(std::move(label)), unit_(std::move(unit)), total_(total), terminal_(isatty(STDERR_FILENO) == 1),
      begin_(std::chrono::steady_clock::now()), last_(begin_) {}

Progress::~Progress() {
    if (terminal_ && printed_) {
        std::fputc('\n', stderr);
    }
}

void Progress::update(int64_t done, const std::string& detail) {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> since_begin = now - begin_, since_last = now - last_;
    const bool end = done >= total_;
    if (!end && shown_ >= 0 && since_last.count() < (terminal_ ? kTerminalEvery : kPlainEvery)) {
        return;
    }
    last_ = now;
    shown_ = done;
    std::string time = clock_text(since_begin.count());
    if (!end && done > skipped_) {
        const double rate = since_begin.count() / static_cast<double>(done - skipped_);
        time += " + " + clock_text(rate * static_cast<double>(total_ - done));
    }
    if (terminal_) {
        const int64_t filled = total_ > 0 ? kBarWidth * done / total_ : kBarWidth;
        const std::string bar =
            std::string(static_cast<size_t>(filled), '#') + std::string(static_cast<size_t>(kBarWidth - filled), '.');
        std::fprintf(stderr, "\r\033[K%-22s [%s] %lld/%lld %s  %s  %s", label_.c_str(), bar.c_str(),
                     static_cast<long long>(done), static_cast<long long>(total_), unit_.c_str(), time.c_str(),
                     detail.c_str());
        std::fflush(stderr);
        printed_ = true;
    } else {
        std::fprintf(stderr, "%-22s %lld/%lld %s  %s  %s\n", label_.c_str(), static_cast<long long>(done),
                     static_cast<long long>(total_), unit_.c_str(), time.c_str(), detail.c_str());
    }
}

void say(const std::string& line) { std::fprintf(stderr, "%s\n", line.c_str()); }

} // namespace skintern
