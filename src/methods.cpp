// methods.cpp — see methods.h.
#include "methods.h"

#include "check.h"

namespace skintern {

namespace {

// Shares of the stage's knowledge that are tried, in order, when a row is too long; then examples go, one by one.
constexpr double kFitShares[] = {1.0, 0.75, 0.5, 0.25, 0.0};

// The knowledge of a training row with the share `keep` of it.
Context training_context(const Method& method, const Record& record, const RankedText* ranked, size_t row,
                         double keep) {
    Context context;
    if (method.in_training == Knowledge::passages) {
        // Passages are cut from their end: they have no ranking.
        const std::vector<std::string> words = split_words(full_context(record, Knowledge::passages).knowledge);
        const size_t kept = static_cast<size_t>(keep * static_cast<double>(words.size()));
        for (size_t w = 0; w < kept; w++) {
            context.knowledge += words[w];
        }
        context.retrieved = true;
    } else if (method.in_training == Knowledge::summary && keep > 0) {
        context.knowledge = shorten(ranked[row], keep);
    }
    return context;
}

} // namespace

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
    if (method.curriculum) {
        return make_curriculum(curriculum);
    }
    return {{1, method.in_training == Knowledge::none ? 0.0 : 1.0, 0}};
}

Context full_context(const Record& record, Knowledge kind) {
    Context context;
    if (kind == Knowledge::summary) {
        context.knowledge = record.summary;
    } else if (kind == Knowledge::passages) {
        context.knowledge = make_passages(record);
        context.retrieved = true;
    }
    return context;
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
            return make_sample(bpe, settings.bos, make_prompt(settings.templates, train[i], context),
                               train[i].response, settings.chat);
        };
        const auto fits = [&](const Sample& sample) {
            return static_cast<int64_t>(sample.ids.size()) <= settings.cutoff_len;
        };
        // Knowledge goes first, then examples; never the question, the target or EOS.
        size_t n_shots = shots.of_row[i].size();
        Sample sample = attempt(1.0, n_shots);
        for (size_t f = 1; f < std::size(kFitShares) && !fits(sample) && stage.keep > 0; f++) {
            sample = attempt(kFitShares[f], n_shots);
            out.knowledge_cut += f == 1;
        }
        const bool examples_too_long = !fits(sample) && n_shots > 0;
        while (!fits(sample) && n_shots > 0) {
            sample = attempt(0.0, --n_shots);
        }
        if (!fits(sample)) {
            out.left_out++;
            continue;
        }
        out.shots_cut += examples_too_long;
        out.samples.push_back(std::move(sample));
    }
    return out;
}

std::vector<std::string> evaluation_prompts(Knowledge kind, const std::vector<Record>& records,
                                            const Templates& templates) {
    std::vector<std::string> prompts;
    prompts.reserve(records.size());
    for (const Record& record : records) {
        prompts.push_back(make_prompt(templates, record, full_context(record, kind)));
    }
    return prompts;
}

} // namespace skintern
