// Records as JSONL or as a list; what is read can be written, and comes back.
#include "fuzz.h"
#include "tasks/task.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace skintern;
    static const InputFile file("records.jsonl");
    const std::string& path = file.holding(data, size);
    return try_reading(path, [&] {
        for (const Record& record : read_records(path)) {
            const std::string line = record_to_json(record);
            expect(record_to_json(record_from_json(line, path)) == line, "a record to come back", line);
        }
    });
}
