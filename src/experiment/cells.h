// cells.h — the cells of a run: which are done, and how several processes run the others.
//
// A cell's folder says what state it is in: cell.json has its settings, its seed, the version of the code and how often it was
// begun, and when it is finished the seconds it took; a process that is at it holds the folder's lock.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "experiment/cell.h"

namespace skintern {

inline constexpr const char* kLockFile = "lock"; // of a cell's folder, and of a run's

struct Cell {
    ArmConfig arm;
    uint64_t seed;
    std::string folder;
    std::vector<std::string> asked; // what it has to answer, see asked_of()
    std::string matched;            // folder of the cell whose cost it has to match; empty: none
};

struct Outcome {
    int64_t elsewhere = 0;                      // cells that other processes are at
    std::map<std::string, std::string> waiting; // folder -> that of the cell it has to match, which is not finished
    std::map<std::string, std::string> failed;  // folder -> "skintern, seed 2: the loss is nan: ..."
};

// Throws Error when a cell was made with other settings than its arm has now.
void check_cells(const std::vector<Cell>& cells);

// Whether the training of a cell diverged, which it would again.
bool has_diverged(const Cell& cell);

// Runs cells until none is left that nobody is at. One that fails keeps none of the others from running.
Outcome run_cells(const Shared& shared, const std::vector<Cell>& cells);

} // namespace skintern
