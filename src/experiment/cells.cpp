// cells.cpp — see cells.h.
#include "experiment/cells.h"

#include <chrono>
#include <nlohmann/json.hpp>

#include "support/check.h"
#include "support/files.h"
#include "support/progress.h"
#include "support/version.h"

namespace skintern {

namespace {

using Json = nlohmann::ordered_json;

// What a finished cell says of itself; null while it is not finished.
Json finished_cell(const std::string& folder) {
    const Json cell =
        file_exists(folder + "/cell.json") ? Json::parse(read_file(folder + "/cell.json"), nullptr, false) : Json();
    return cell.is_object() && cell.contains("seconds") && cell["seconds"].is_number() ? cell : Json();
}

// cell.json: settings, seed, version of the code, device, how often it was begun; when it is finished also how long it took.
class CellFile {
public:
    CellFile(const Cell& cell, const std::string& device) : path_(cell.folder + "/cell.json") {
        const Json before = read(cell);
        if (!before.is_null() && before.contains("seconds")) { // finished, and asked for more than it was then
            json_ = before;
            json_.erase("failed"); // if it did when it was last asked for more
            return;
        }
        const int64_t begun = before.is_null() ? 1 : 1 + before.value("begun", int64_t{0});
        json_ = {{"arm", arm_json(cell.arm)}, {"seed", cell.seed}, {"version", code_version()}, {"device", device}, {"begun", begun}};
        write_file(path_, json_.dump(2) + "\n");
    }
    // What the file says, or null where there is none. Throws Error when the cell was made with other settings than its arm has
    // now.
    static Json read(const Cell& cell) {
        const std::string path = cell.folder + "/cell.json";
        if (!file_exists(path)) {
            return Json();
        }
        const Json json = Json::parse(read_file(path), nullptr, false);
        CHECK(json.is_object() && json.contains("arm"), "%s: damaged; without its folder the cell is made again", path.c_str());
        const Json settings = arm_json(cell.arm);
        CHECK(json["arm"] == settings, "%s: the cell was made with other settings (%s, not %s); choose another name or --out",
              path.c_str(), json["arm"].dump().c_str(), settings.dump().c_str());
        return json;
    }
    void finish(double seconds) { add("seconds", json_.value("seconds", 0.0) + seconds); }
    void fail(const std::string& reason) { add("failed", reason); }
    void diverged() { add("diverged", true); }

private:
    void add(const char* key, const Json& value) {
        json_[key] = value;
        write_file(path_, json_.dump(2) + "\n");
    }

    std::string path_;
    Json json_;
};

// How many cells are done, and the time that the others will take at the mean of these.
void say_progress(const std::vector<Cell>& cells) {
    int64_t done = 0;
    double seconds = 0;
    for (const Cell& cell : cells) {
        const Json finished = finished_cell(cell.folder);
        done += !finished.is_null();
        seconds += finished.is_null() ? 0.0 : finished["seconds"].get<double>();
    }
    const int64_t left = std::ssize(cells) - done;
    if (left > 0 && done > 0) {
        say(format("%lld of %zu cells are done; the others take about %.0f minutes of one process",
                   static_cast<long long>(done), cells.size(),
                   seconds / static_cast<double>(done) * static_cast<double>(left) / 60));
    }
}

// Runs a cell unless it is done, has failed here, or another process is at it; whether it ran.
bool run_if_free(const Shared& shared, const Cell& cell, Outcome& outcome) {
    const auto done = [&] { return !finished_cell(cell.folder).is_null() && is_answered(cell.folder, cell.asked); };
    if (done() || outcome.failed.contains(cell.folder)) {
        return false;
    }
    if (!cell.matched.empty() && finished_cell(cell.matched).is_null()) {
        outcome.waiting[cell.folder] = cell.matched;
        return false;
    }
    make_folder(cell.folder);
    const FileLock lock(cell.folder + "/" + kLockFile, false);
    if (!lock.held()) {
        outcome.elsewhere++;
        return false;
    }
    if (done()) { // by another process, a moment ago
        return false;
    }
    if (has_diverged(cell)) { // there too, or in an earlier run
        outcome.failed[cell.folder] = format("%s: its training diverged, as it would again", cell.folder.c_str());
        return false;
    }
    CellFile file(cell, shared.kernels->name());
    const auto begin = std::chrono::steady_clock::now();
    try {
        run_cell(shared, cell.arm, cell.seed, cell.folder, cell.asked, cell.matched);
    } catch (const Error& e) {
        const std::string reason =
            format("%s, seed %lld: %s", cell.arm.name.c_str(), static_cast<long long>(cell.seed), e.what());
        say(reason);
        outcome.failed[cell.folder] = reason;
        file.fail(e.what());
        if (dynamic_cast<const Diverged*>(&e) != nullptr) {
            file.diverged();
        }
        return false;
    }
    file.finish(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    return true;
}

} // namespace

void check_cells(const std::vector<Cell>& cells) {
    for (const Cell& cell : cells) {
        CellFile::read(cell);
    }
}

bool has_diverged(const Cell& cell) {
    const Json json = CellFile::read(cell);
    return json.is_object() && json.value("diverged", false);
}

Outcome run_cells(const Shared& shared, const std::vector<Cell>& cells) {
    Outcome outcome;
    for (bool ran = true; ran;) {
        ran = false;
        outcome.elsewhere = 0;
        outcome.waiting.clear();
        for (const Cell& cell : cells) {
            if (run_if_free(shared, cell, outcome)) {
                ran = true;
                say_progress(cells);
            }
        }
    }
    return outcome;
}

} // namespace skintern
