// progress.h — how far a long job is, on stderr: a bar on a terminal, now and then a plain line otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace skintern {

class Progress {
public:
    // `unit` of what is counted: "updates", "questions".
    Progress(std::string label, int64_t total, std::string unit);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;

    // `detail` is shown behind the bar ("loss 1.23  4567 tokens/s"). Work done before this object began (`skipped`)
    // does not count for the time left.
    void update(int64_t done, const std::string& detail = "");
    void skip(int64_t done) { skipped_ = done; }

private:
    std::string label_, unit_;
    int64_t total_, skipped_ = 0, shown_ = -1;
    bool terminal_, printed_ = false;
    std::chrono::steady_clock::time_point begin_, last_;
};

// One line on stderr.
void say(const std::string& line);

} // namespace skintern
