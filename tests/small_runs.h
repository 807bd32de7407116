// small_runs.h — runs written by tests of the report, small enough that their figures can be computed by hand.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "report/report.h"
#include "support/check.h"
#include "support/files.h"
#include "test_support.h"

namespace skintern {

using Json = nlohmann::ordered_json;

struct Answered {
    std::string id, task;
    bool correct;
    std::string coverage = "";
    int needed = 0, found = 0;
    double flops = 1000;
    std::string generated = "Therefore, the answer is (B).";
};

inline std::string eval_line(const Answered& row, const std::string& split) {
    const Json json = {{"id", row.id},
                       {"task_name", row.task},
                       {"split", split},
                       {"coverage", row.coverage},
                       {"prompt_tokens", 100},
                       {"new_tokens", 20},
                       {"flops", row.flops},
                       {"question", "What is <2> & \"3\"?"},
                       {"gold", "(B)"},
                       {"generated", row.generated},
                       {"correct", row.correct},
                       {"strict", row.correct},
                       {"readable", true},
                       {"facts_needed", row.needed},
                       {"facts_found", row.found}};
    return json.dump() + "\n";
}

inline void write_eval(const std::string& method_folder, const std::string& split,
                       const std::vector<Answered>& rows) {
    make_folder(method_folder + "/eval");
    std::string text;
    for (const Answered& row : rows) {
        text += eval_line(row, split);
    }
    put_file(method_folder + "/eval/" + split + ".jsonl", text);
}

inline void write_run_json(const std::string& run, const std::vector<std::string>& methods,
                           const std::vector<int>& seeds) {
    const Json json = {{"preset", "tiny"},
                       {"seeds", seeds},
                       {"device", "cpu <portable>"},
                       {"methods", methods},
                       {"base", {{"params", 5}}},
                       {"schedule",
                        {{{"stage", 1}, {"keep", 1.0}, {"shots", 2}, {"updates", 2}},
                         {{"stage", 2}, {"keep", 0.0}, {"shots", 0}, {"updates", 2}}}}};
    put_file(run + "/run.json", json.dump());
}

// Adds fields to run.json, or takes their place.
inline void patch_run_json(const std::string& run, const Json& fields) {
    Json json = Json::parse(read_file(run + "/run.json"));
    json.merge_patch(fields);
    put_file(run + "/run.json", json.dump());
}

// Three methods, one seed, four questions in domain and three out of domain.
inline void write_small_run(const std::string& run) {
    write_run_json(run, {"base", "std-cot", "skintern"}, {1});
    for (const std::string method : {"base", "std-cot", "skintern"}) {
        const std::string folder = run + "/seed-1/" + method;
        const bool ours = method == "skintern", base = method == "base";
        const double flops = ours ? 1500 : 1000;
        write_eval(folder, "test",
                   {{"1", "navigate", !base, "", 0, 0, flops},
                    {"2", "navigate", ours, "", 0, 0, flops},
                    {"3", "prices", ours, "covered", 2, ours ? 2 : 1, flops},
                    {"4", "prices", false, "uncovered", 2, 2, flops,
                     base ? "the the" : "Therefore, the answer is 4."}});
        write_eval(folder, "longer", {{"1", "navigate", false, "", 0, 0, flops}});
        write_eval(folder, "unseen", {{"1", "units", !base, "", 0, 0, flops}});
        write_eval(folder, "reworded", {{"1", "navigate", ours, "", 0, 0, flops}});
        if (base) {
            continue;
        }
        put_file(folder + "/log.jsonl",
                 R"({"step":1,"stage":1,"loss":2.0,"grad_norm":1,"lr":1e-4,"tokens":100}
{"step":2,"stage":1,"loss":1.0,"grad_norm":1,"lr":1e-4,"tokens":50}
{"step":3,"stage":2,"loss":1.5,"grad_norm":1,"lr":1e-4,"tokens":25}
)");
        put_file(folder + "/meter.jsonl", "{\"step\":0,\"nll_question\":3.0,\"nll_knowledge\":1.0}\n"
                                          "{\"step\":3,\"nll_question\":1.5,\"nll_knowledge\":1.25}\n");
    }
    put_file(run + "/seed-1/skintern/curve.jsonl",
             R"({"stage":0,"step":0,"knowledge":false,"rows":10,"correct":0}
{"stage":0,"step":0,"knowledge":true,"rows":10,"correct":5}
{"stage":1,"step":2,"knowledge":false,"rows":10,"correct":4}
)");
    put_file(run + "/seed-1/skintern/dropped.json", R"({"left_out":1,"knowledge_cut":3,"shots_cut":5})");
}

inline Json results_of(const std::string& run) {
    write_report(run);
    return Json::parse(read_file(run + "/results.json"));
}

inline const Json& of_method(const Json& results, const std::string& name) {
    for (const Json& method : results["methods"]) {
        if (method["name"] == name) {
            return method;
        }
    }
    throw Error("no method " + name, __FILE__, __LINE__);
}

inline std::string printed(const std::string& run) {
    FILE* file = std::tmpfile();
    CHECK(file != nullptr, "no temporary file");
    print_table(run, file);
    std::string text(static_cast<size_t>(std::ftell(file)), '\0');
    std::rewind(file);
    const size_t n = std::fread(text.data(), 1, text.size(), file);
    std::fclose(file);
    return text.substr(0, n);
}

inline std::string markdown_of(const std::vector<std::string>& runs, const std::string& file) {
    std::vector<Report> reports;
    for (const std::string& run : runs) {
        reports.emplace_back(run);
    }
    write_markdown(reports, file);
    return read_file(file);
}

inline bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

} // namespace skintern
