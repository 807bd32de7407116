// task.h — what a training or test example is, and how it is read and written.
//
// A Record has the fields of docs/method.md ("Records"). It is made by the generator (teacher.h), or read from a JSON
// list or JSONL file with data recorded from a real teacher, or from the file of a published benchmark (benchmarks.h).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace skintern {

struct Record {
    std::string id;               // unique in its file
    std::string task_name;        // family, e.g. "navigate"
    std::string task_description; // T: one sentence that says what the task is
    std::string prefix_prompt;    // general instruction P of this record; empty: that of the templates
    std::string instruction;      // Q
    std::string output;           // A, the gold answer, e.g. "(B)" or "14"
    std::string response;         // R, the rationale; ends "Therefore, the answer is A."
    std::string summary;          // learning summary, a newline, supplementary knowledge
    std::string learning_summary;
    std::string supplementary_knowledge;
    std::vector<std::string> knowledge;   // passages "title . text" for methods that retrieve
    std::vector<std::string> summarydec;  // summarydec1, summarydec2, ...: the summary as shortened by an outside tool

    // Passages that a retriever found for the question, perhaps none; without a value none was asked. Not written.
    std::optional<std::vector<std::string>> retrieved;

    std::string benchmark; // "GSM8K": read from a file as published; not written

    // What the generator knows and a recorded file may leave out.
    std::vector<std::string> facts_needed; // ids of the facts the question needs ("price:brask"), in order of use
    std::vector<std::string> facts_stated; // ids of the facts the response states
    std::string coverage; // "" no facts needed; "covered": every needed fact is stated by some training response;
                          // "uncovered": at least one is not; it stands in the knowledge of training rows, or, where
                          // these are few, nowhere
    std::string drawn;    // by which random numbers the generator made it; not written
    std::string split;    // train | validation | test | longer | unseen | reworded
};

// Reads a JSON list, JSONL or a published benchmark's file; `limit` > 0 keeps the first rows. Throws Error naming file,
// line and field.
std::vector<Record> read_records(const std::string& path, int64_t limit = 0);

// The files that are named, and the .json and .jsonl files of folders that are named, by name.
std::vector<std::string> data_files(const std::vector<std::string>& paths);

// The records of all data_files(), `limit` of each; an id must not stand in two files.
std::vector<Record> read_questions(const std::vector<std::string>& paths, int64_t limit = 0);

std::string records_to_jsonl(const std::vector<Record>& records);

// Writes JSONL, whole or not at all (a temporary file beside it, then a rename).
void write_records(const std::string& path, const std::vector<Record>& records);

// One record as one line of JSON, and back; `where` ("file.jsonl:12") begins every error message.
std::string record_to_json(const Record& record);
Record record_from_json(const std::string& line, const std::string& where);

} // namespace skintern
