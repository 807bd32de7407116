// methods.cpp — see methods.h.
#include "method/methods.h"

#include <algorithm>
#include <cmath>

#include "support/check.h"

namespace skintern {

namespace {

// Shares of the stage's knowledge that are tried, in order, when a row is too long; then examples go, one by one.
constexpr double kFitShares[] = {1.0, 0.75, 0.5, 0.25, 0.0};

// Passages as far as the share `keep` of their words: they are cut from their end, having no ranking.
std::string cut_passages(const std::string& passages, double keep) {
    const std::vector<std::string> words = split_words(passages);
    const size_t kept = static_cast<size_t>(keep * static_cast<double>(words.size()));
    std::string out;
    for (size_t w = 0; w < kept; w++) {
        out += words[w];
    }
    return out;
}

// What stands beside the question of a training row, with the share `keep` of it.
Context training_context(const Method& method, const Record& record, const RankedText* ranked, size_t row,
                         double keep) {
    Context context;
    if (method.withdrawn == Withdrawn::prompt) {
        context.bare = true;
        context.opening = shorten(ranked[row], keep);
    } else if (method.in_training == Knowledge::summary) {
        context.knowledge = keep > 0 ? shorten(ranked[row], keep) : "";
    } else {
        context = full_context(record, method.in_training);
        context.knowledge = cut_passages(context.knowledge, keep);
    }
    return context;
}

// The end of the rationale that the share `keep` of its words makes, then the answer.
std::string end_of_response(const Record& record, double keep) {
    const std::vector<std::string> words = split_words(rationale_of(record.response));
    const double n = static_cast<double>(words.size());
    std::string out;
    for (size_t w = static_cast<size_t>(std::floor((1 - keep) * n + 1e-9)); w < words.size(); w++) {
        out += words[w];
    }
    const size_t mark = record.response.rfind(kMark);
    return (out.empty() ? "" : out.substr(out.find_first_not_of(" \n")) + " ") +
           record.response.substr(mark == std::string::npos ? 0 : mark);
}

std::string target_of(const Record& record, Target target) {
    switch (target) {
    case Target::response: return record.response;
    case Target::rationale: return rationale_of(record.response);
    case Target::answer: return record.output;
    case Target::answer_first:
        return std::string(kMark) + " " + record.output + ". " + rationale_of(record.response);
    }
    CHECK(false, "no such target");
}

// The samples of a training row: one for each question that the method asks.
Row make_row(const Method& method, const Stage& stage, const Record& record, Context context, const Bpe& bpe,
             const PromptSettings& settings) {
    Row row;
    for (const Part& part : {method.tasks.first, method.tasks.second}) {
        if (part.weight == 0) {
            continue;
        }
        context.ask = part.ask;
        context.rationale = rationale_of(record.response);
        const std::string target = method.withdrawn == Withdrawn::rationale ? end_of_response(record, stage.keep)
                                                                            : target_of(record, part.target);
        Sample sample =
            make_sample(bpe, settings.bos, make_prompt(settings.templates, record, context), target, settings.chat);
        sample.task = static_cast<int64_t>(row.size());
        sample.weight = part.weight;
        row.push_back(std::move(sample));
    }
    return row;
}

} // namespace

std::string trimmed(const std::string& text) {
    const size_t begin = text.find_first_not_of(" \n");
    return begin == std::string::npos ? "" : text.substr(begin, text.find_last_not_of(" \n") + 1 - begin);
}

const Method& method_by_name(const std::string& name) {
    std::string known;
    for (const Method& method : kMethods) {
        if (name == method.name) {
            return method;
        }
        known += (known.empty() ? "" : ", ") + std::string(method.name);
    }
    CHECK(false, "there is no method \"%s\": known are %s", name.c_str(), known.c_str());
}

std::vector<Stage> method_stages(const Method& method, const CurriculumConfig& curriculum) {
    if (method.curriculum()) {
        std::vector<Stage> stages = make_curriculum(curriculum);
        for (Stage& stage : stages) {
            stage.shots = method.withdrawn == Withdrawn::rationale ? 0 : stage.shots;
        }
        return stages;
    }
    return {{1, method.in_training == Knowledge::none ? 0.0 : 1.0, method.examples ? curriculum.shots : 0}};
}

Context full_context(const Record& record, Knowledge kind) {
    Context context;
    if (kind == Knowledge::summary) {
        context.knowledge = record.summary;
    } else if (kind != Knowledge::none) {
        context.knowledge = make_passages(kind == Knowledge::given ? record.knowledge : record.retrieved.value_or(record.knowledge));
        context.retrieved = true;
    }
    return context;
}

std::vector<std::string> texts_to_shorten(const Method& method, const std::vector<Record>& train,
                                          const Templates& templates) {
    std::vector<std::string> texts;
    for (const Record& record : train) {
        texts.push_back(method.withdrawn == Withdrawn::prompt
                            ? make_opening(templates, record, full_context(record, Knowledge::summary))
                            : record.summary);
    }
    return texts;
}

StageRows make_stage_rows(const Method& method, const Stage& stage, const std::vector<Record>& train,
                          const std::vector<RankedText>& ranked, const Bpe& bpe, const PromptSettings& settings) {
    const uint64_t seed = settings.seed + static_cast<uint64_t>(stage.index);
    const bool similar = settings.shots_from == "similar";
    const Shots shots = similar ? similar_shots(train, stage.shots, settings.nearest_shots, seed)
                                : draw_shots(train, stage.shots, settings.shot_block, seed);
    StageRows out;
    for (size_t i = 0; i < train.size(); i++) {
        if (shots.is_shot[i]) {
            out.as_shots++;
            continue;
        }
        const auto attempt = [&](double share, size_t n_shots) {
            Context context = training_context(method, train[i], ranked.data(), i, stage.keep * share);
            const std::vector<const Record*>& all = shots.of_row[i];
            context.shots.assign(all.begin(), all.begin() + static_cast<int64_t>(n_shots));
            return make_row(method, stage, train[i], context, bpe, settings);
        };
        const auto fits = [&](const Row& row) {
            return std::all_of(row.begin(), row.end(), [&](const Sample& sample) {
                return static_cast<int64_t>(sample.ids.size()) <= settings.cutoff_len;
            });
        };
        // Knowledge goes first, then examples; never the question, the target or EOS.
        size_t n_shots = shots.of_row[i].size();
        Row row = attempt(1.0, n_shots);
        for (size_t f = 1; f < std::size(kFitShares) && !fits(row) && stage.keep > 0; f++) {
            row = attempt(kFitShares[f], n_shots);
            out.knowledge_cut += f == 1;
        }
        const bool examples_too_long = !fits(row) && n_shots > 0;
        while (!fits(row) && n_shots > 0) {
            row = attempt(0.0, --n_shots);
        }
        if (!fits(row)) {
            out.left_out++;
            continue;
        }
        out.shots_cut += examples_too_long;
        out.rows.push_back(std::move(row));
    }
    return out;
}

std::vector<std::string> evaluation_prompts(const Method& method, const std::vector<Record>& records,
                                            const PromptSettings& settings, const std::vector<Record>& train) {
    const std::vector<std::vector<const Record*>> shots =
        method.examples ? evaluation_shots(train, records, settings.nearest_shots, settings.seed)
                        : std::vector<std::vector<const Record*>>(records.size());
    std::vector<std::string> prompts;
    prompts.reserve(records.size());
    for (size_t i = 0; i < records.size(); i++) {
        Context context = full_context(records[i], method.in_evaluation);
        context.shots = shots[i];
        context.ask = method.tasks.evaluated;
        context.bare = method.withdrawn == Withdrawn::prompt;
        prompts.push_back(make_prompt(settings.templates, records[i], context));
    }
    return prompts;
}

std::vector<EvalRow> evaluate_method(const Method& method, Transformer& model, const Bpe& bpe,
                                     const std::vector<Record>& records, const PromptSettings& settings,
                                     const std::vector<Record>& train, const EvalConfig& config) {
    const std::vector<std::string> prompts = evaluation_prompts(method, records, settings, train);
    if (!method.tasks.cascade()) {
        return evaluate(model, bpe, records, prompts, config);
    }
    // CasCoD: the rationale first; the answer is asked for with the rationale in the prompt.
    EvalConfig first = config;
    first.on_row = nullptr;
    const std::vector<EvalRow> rationales = evaluate(model, bpe, records, prompts, first);
    std::vector<std::string> conclusions;
    for (size_t i = 0; i < records.size(); i++) {
        Context context = full_context(records[i], method.in_evaluation);
        context.ask = Ask::conclusion;
        context.rationale = trimmed(rationale_of(rationales[i].generated));
        conclusions.push_back(make_prompt(settings.templates, records[i], context));
    }
    EvalConfig second = config;
    second.continued = &rationales;
    return evaluate(model, bpe, records, conclusions, second);
}

} // namespace skintern
