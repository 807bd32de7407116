// Prompts, masks, examples, and what is cut when a row is too long.
#include "test.h"

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "method/batch.h"
#include "method/methods.h"
#include "support/files.h"
#include "tasks/teacher.h"
#include "test_support.h"
#include "tokenizer/chat.h"

using namespace skintern;

namespace {

const Templates kTemplates = {"Solve the task.", "End with the mark.", "This knowledge helps:", "Passages:"};

// A tokenizer of single bytes: with it, the tokens of a prompt are its bytes.
Bpe byte_tokenizer() {
    BpeTrainConfig config;
    config.vocab_size = 257;
    return Bpe::train({"a"}, config);
}

// One layer, two heads of four, for that tokenizer.
ModelConfig byte_model() {
    ModelConfig config;
    config.layers = 1;
    config.channels = 8;
    config.heads = config.kv_heads = 2;
    config.head_size = 4;
    config.ffn = 8;
    config.vocab = 257;
    config.max_positions = 1024;
    return config;
}

LoraConfig no_adapter() {
    LoraConfig none;
    none.r = 0;
    return none;
}

Record sample_record(const std::string& question = "What is 1 plus 1?") {
    Record r;
    r.id = "r1";
    r.task_name = "sums";
    r.task_description = "Add.";
    r.instruction = question;
    r.output = "2";
    r.response = "1 plus 1 is 2. Therefore, the answer is 2.";
    r.learning_summary = "Add the numbers.";
    r.supplementary_knowledge = "1 plus 1 is 2.";
    r.summary = "Add the numbers.\n1 plus 1 is 2.";
    r.knowledge = {"Sums . Add the numbers.", "Facts . 1 plus 1 is 2."};
    return r;
}

const std::string kStdPrompt =
    "Solve the task. Add. End with the mark.\n\nQuestion: What is 1 plus 1?\nAnswer: Let's think step by step.";

std::vector<Record> many_records(int64_t n) {
    std::vector<Record> records;
    for (int64_t i = 0; i < n; i++) {
        records.push_back(sample_record("What is " + std::to_string(i) + " plus 1?"));
        records.back().id = std::to_string(i);
    }
    return records;
}

std::vector<RankedText> rank_all(const std::vector<Record>& records) {
    std::vector<RankedText> ranked;
    for (const Record& r : records) {
        std::vector<double> scores(split_words(r.summary).size(), 0.0);
        ranked.push_back(rank_words(r.summary, scores));
    }
    return ranked;
}

std::string text_of(const Bpe& bpe, const std::vector<int32_t>& ids) { return bpe.decode(ids, true); }

} // namespace

TEST_CASE("a record without a task description gets the one of the templates", "[prompt]") {
    Templates templates = kTemplates;
    templates.tasks["navigate"] = "Follow the steps.";
    Record r;
    r.task_name = "navigate";
    r.instruction = "Where?";
    const std::string rest = " End with the mark.\n\nQuestion: Where?\nAnswer: Let's think step by step.";
    REQUIRE(make_prompt(templates, r, {}) == "Solve the task. Follow the steps." + rest);
    r.task_description = "Walk.";
    REQUIRE(make_prompt(templates, r, {}) == "Solve the task. Walk." + rest);
    r.task_description = "";
    r.task_name = "snarks";
    REQUIRE(make_prompt(templates, r, {}) == "Solve the task." + rest);
    REQUIRE(read_templates("data/templates/default.json").tasks.contains("snarks"));
}

TEST_CASE("the prompt of each method is the documented one, byte for byte", "[prompt]") {
    const Record r = sample_record();
    REQUIRE(make_prompt(kTemplates, r, {}) == kStdPrompt);
    REQUIRE(make_prompt(kTemplates, r, full_context(r, Knowledge::summary)) ==
            "Solve the task. Add. End with the mark.\n\nThis knowledge helps:\nAdd the numbers.\n1 plus 1 is "
            "2.\n\nQuestion: What is 1 plus 1?\nAnswer: Let's think step by step.");
    REQUIRE(make_prompt(kTemplates, r, full_context(r, Knowledge::passages)) ==
            "Solve the task. Add. End with the mark.\n\nPassages:\n1. Sums . Add the numbers.\n2. Facts . 1 plus 1 is "
            "2.\n\nQuestion: What is 1 plus 1?\nAnswer: Let's think step by step.");
    Context context = full_context(r, Knowledge::summary);
    const Record shot = sample_record("What is 3 plus 1?");
    context.shots = {&shot};
    REQUIRE(make_prompt(kTemplates, r, context) ==
            "Solve the task. Add. End with the mark.\n\nThis knowledge helps:\nAdd the numbers.\n1 plus 1 is "
            "2.\n\nQuestion: What is 3 plus 1?\nAnswer: 1 plus 1 is 2. Therefore, the answer is 2.\n\nQuestion: What "
            "is 1 plus 1?\nAnswer: Let's think step by step.");
}

TEST_CASE("the last stage of a method has its evaluation prompt, byte for byte", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const World world(1);
    DataConfig data;
    data.train = 8;
    data.validation = 1;
    data.test = 1;
    const std::vector<Record> train = make_splits(data, world).at("train");
    PromptSettings settings;
    settings.templates = kTemplates;
    settings.cutoff_len = 100000;
    settings.nearest_shots = 2;
    CurriculumConfig curriculum;
    curriculum.shots = 2;
    for (const Method& method : kMethods) {
        if (!method.trained || method.examples) {
            continue; // examples of training and of evaluation are different draws
        }
        INFO(method.name);
        const std::vector<Stage> stages = method_stages(method, curriculum);
        std::vector<RankedText> ranked;
        for (const std::string& text : texts_to_shorten(method, train, kTemplates)) {
            ranked.push_back(rank_words(text, std::vector<double>(split_words(text).size(), 0.0)));
        }
        const StageRows rows = make_stage_rows(method, stages.back(), train, ranked, bpe, settings);
        const std::vector<std::string> prompts = evaluation_prompts(method, train, settings, {});
        REQUIRE(rows.rows.size() == train.size());
        for (size_t i = 0; i < train.size(); i++) {
            const Row& row = rows.rows[i];
            const auto asks = [&](const Sample& s) {
                return text_of(bpe, {s.ids.begin(), s.ids.begin() + s.prompt_tokens}) == prompts[i];
            };
            REQUIRE(std::count_if(row.begin(), row.end(), asks) == 1);
        }
    }
}

TEST_CASE("prompts and targets of each method are the documented ones", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const std::vector<Record> train = {sample_record()};
    const std::string think = "Solve the task. Add. End with the mark.\n\nQuestion: What is 1 plus 1?\nAnswer: Let's think step by step.";
    const std::string short_head = "Solve the task. Add.\n\nQuestion: What is 1 plus 1?";
    const std::string passages = "\n\nPassages:\n1. Sums . Add the numbers.\n2. Facts . 1 plus 1 is 2.";
    const std::string question = "\n\nQuestion: What is 1 plus 1?";
    const std::string response = "1 plus 1 is 2. Therefore, the answer is 2.", rationale = "1 plus 1 is 2.";
    using Pairs = std::vector<std::pair<std::string, std::string>>; // prompt, target
    const std::map<std::string, Pairs> documented = {
        {"ft", {{short_head + "\nAnswer:", "2"}}},
        {"kaft", {{"Solve the task. Add." + passages + question + "\nAnswer:", "2"}}},
        {"std-cot", {{think, response}}},
        {"mt-re", {{short_head + "\nRationale:", rationale}, {short_head + "\nAnswer:", "2"}}},
        {"mt-ra", {{short_head + "\n[Explanation Generation]:", "Therefore, the answer is 2. " + rationale},
                   {short_head + "\n[Answer Prediction]:", "2"}}},
        {"mt-cot", {{short_head + "\n[Explanation Generation]:", response}, {short_head + "\n[Answer Prediction]:", "2"}}},
        {"cascod", {{short_head + "\nRationale:", rationale},
                    {short_head + " 1 plus 1 is 2.\nTherefore, the answer is", "2"}}},
        {"kard", {{"Solve the task. Add. End with the mark." + passages + question + "\nAnswer: Let's think step by step.",
                   response}}},
        {"promptintern", {{"Question: What is 1 plus 1?\nAnswer: Let's think step by step.", response}}},
        {"stepwise", {{think, "Therefore, the answer is 2."}}},
    };
    PromptSettings settings;
    settings.templates = kTemplates;
    for (const auto& [name, pairs] : documented) {
        INFO(name);
        const Method& method = method_by_name(name);
        const std::vector<RankedText> ranked = {rank_words("a b", {1, 2})};
        const Row row = make_stage_rows(method, method_stages(method, {}).back(), train, ranked, bpe, settings).rows.at(0);
        REQUIRE(row.size() == pairs.size());
        for (size_t p = 0; p < pairs.size(); p++) {
            const auto target = row[p].ids.begin() + row[p].prompt_tokens;
            REQUIRE(text_of(bpe, {row[p].ids.begin(), target}) == pairs[p].first);
            REQUIRE(text_of(bpe, {target, row[p].ids.end() - 1}) == " " + pairs[p].second);
            REQUIRE(row[p].task == static_cast<int64_t>(p));
            REQUIRE(row[p].weight == (pairs.size() == 1 ? 1.0 : p == 0 ? 0.7 : 0.3));
        }
    }
}

TEST_CASE("stepwise internalization takes the rationale away from its beginning", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const Method& method = method_by_name("stepwise");
    PromptSettings settings;
    settings.templates = kTemplates;
    std::vector<std::string> targets;
    for (const Stage& stage : method_stages(method, {})) {
        REQUIRE(stage.shots == 0);
        const Row row = make_stage_rows(method, stage, {sample_record()}, {}, bpe, settings).rows.at(0);
        targets.push_back(text_of(bpe, {row[0].ids.begin() + row[0].prompt_tokens, row[0].ids.end() - 1}));
    }
    REQUIRE(targets == std::vector<std::string>{" 1 plus 1 is 2. Therefore, the answer is 2.",
                                                " plus 1 is 2. Therefore, the answer is 2.",
                                                " is 2. Therefore, the answer is 2.", " Therefore, the answer is 2."});
}

TEST_CASE("PromptIntern shortens the instruction with the knowledge", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const Method& method = method_by_name("promptintern");
    const std::vector<Record> train = {sample_record()};
    const std::vector<std::string> texts = texts_to_shorten(method, train, kTemplates);
    REQUIRE(texts.at(0) == "Solve the task. Add. End with the mark.\n\nThis knowledge helps:\nAdd the numbers.\n1 plus 1 is 2.");
    std::vector<double> scores(split_words(texts[0]).size(), 0.0);
    scores[2] = 1; // "task."
    PromptSettings settings;
    settings.templates = kTemplates;
    const Stage stage{2, 1.0 / static_cast<double>(scores.size()), 0};
    const Row row = make_stage_rows(method, stage, train, {rank_words(texts[0], scores)}, bpe, settings).rows.at(0);
    REQUIRE(text_of(bpe, {row[0].ids.begin(), row[0].ids.begin() + row[0].prompt_tokens}) ==
            "task.\n\nQuestion: What is 1 plus 1?\nAnswer: Let's think step by step.");
}

TEST_CASE("examples of an evaluation are training rows of the family, or of all where it has too few", "[prompt]") {
    std::vector<Record> train = many_records(8);
    Record other = sample_record("Another?");
    other.task_name = "unseen";
    const auto shots = evaluation_shots(train, {train[0], train[1], other}, 3, 1);
    REQUIRE(shots.size() == 3);
    for (const auto& of_row : shots) {
        REQUIRE(std::set<const Record*>(of_row.begin(), of_row.end()).size() == 3);
        for (const Record* shot : of_row) {
            REQUIRE((shot >= train.data() && shot < train.data() + train.size()));
        }
    }
    REQUIRE(shots[0] == shots[1]); // one draw a family
    REQUIRE(evaluation_shots(train, {train[0]}, 3, 1) != evaluation_shots(train, {train[0]}, 3, 2));
    REQUIRE_THROWS_WITH(evaluation_shots(train, {train[0]}, 9, 1), Contains("8 training rows are too few for 9 examples"));
}

TEST_CASE("every target token and EOS is scored, and no token of the prompt", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const Record r = sample_record();
    for (const Knowledge kind : {Knowledge::none, Knowledge::summary, Knowledge::passages}) {
        const std::string prompt = make_prompt(kTemplates, r, full_context(r, kind));
        const Sample s = make_sample(bpe, -1, prompt, r.response);
        REQUIRE(s.prompt_tokens == static_cast<int64_t>(prompt.size())); // tokens are bytes
        REQUIRE(s.ids.back() == bpe.eos());
        Batch batch;
        batch.add_sequence({1, 2, 3}); // rows of another sequence come first
        add_sample(batch, s);
        REQUIRE(bpe.decode(batch.targets) == " " + r.response);
        REQUIRE(batch.targets.back() == bpe.eos());
        REQUIRE(batch.rows.front() == 3 + s.prompt_tokens - 1); // the last prompt token predicts the first of R
        REQUIRE(batch.rows.back() == 3 + static_cast<int32_t>(s.ids.size()) - 2);
        REQUIRE(static_cast<int64_t>(batch.rows.size()) == s.target_tokens());
    }
}

TEST_CASE("with chat a row is the model's own turn, and its target begins without a space", "[prompt]") {
    const std::string path = shared_or_skip("tokenizers/ggml-vocab-qwen2.gguf");
    if (path.empty()) {
        return;
    }
    const Bpe bpe = Bpe::load(path);
    const Sample s = make_sample(bpe, -1, "2 + 2?", "It is 4.", true);
    const std::vector<int32_t> prompt(s.ids.begin(), s.ids.begin() + s.prompt_tokens);
    REQUIRE(bpe.decode(prompt, true) == apply_chat(bpe, "2 + 2?"));
    REQUIRE(make_question(bpe, -1, "2 + 2?", true).ids == prompt);
    const int32_t turn = bpe.token_id("<|im_start|>");
    REQUIRE(std::count(prompt.begin(), prompt.end(), turn) >= 2); // one id each, not its letters
    REQUIRE(bpe.decode({s.ids.begin() + s.prompt_tokens, s.ids.end() - 1}) == "It is 4.");
    REQUIRE(s.ids.back() == bpe.eos());
}

TEST_CASE("ids and labels of a row of each method are those of the golden file", "[prompt]") {
    const Bpe bpe = Bpe::load("tests/golden/bpe_tokenizer.json");
    const Record r = sample_record();
    const Record shot = sample_record("What is 3 plus 1?");
    std::map<std::string, Context> contexts;
    contexts["std-cot"] = full_context(r, method_by_name("std-cot").in_training);
    contexts["kard"] = full_context(r, method_by_name("kard").in_training);
    contexts["skintern, first stage"] = full_context(r, method_by_name("skintern").in_training);
    contexts["skintern, first stage"].shots = {&shot};
    contexts["skintern, last stage"] = {};
    const auto golden = nlohmann::json::parse(read_file("tests/golden/rows.json"));
    REQUIRE(golden.size() == contexts.size());
    for (const auto& row : golden) {
        INFO(row["method"].get<std::string>());
        const std::string prompt = make_prompt(kTemplates, r, contexts.at(row["method"].get<std::string>()));
        REQUIRE(prompt == row["prompt"].get<std::string>());
        const Sample s = make_sample(bpe, -1, prompt, r.response);
        REQUIRE(s.ids == row["ids"].get<std::vector<int32_t>>());
        Batch batch;
        add_sample(batch, s);
        std::vector<int32_t> labels(s.ids.size(), kNoLabel); // at t the token that stands there; row t-1 predicts it
        for (size_t i = 0; i < batch.rows.size(); i++) {
            labels[static_cast<size_t>(batch.rows[i]) + 1] = batch.targets[i];
        }
        REQUIRE(labels == row["labels"].get<std::vector<int32_t>>());
    }
}

TEST_CASE("labels given by hand are taken as they are", "[prompt]") {
    Sample s;
    s.ids = {5, 6, 7, 8};
    s.labels = {kNoLabel, 6, kNoLabel, 9};
    s.prompt_tokens = 1;
    Batch batch;
    add_sample(batch, s);
    REQUIRE(batch.rows == std::vector<int32_t>{0, 2});
    REQUIRE(batch.targets == std::vector<int32_t>{6, 9});
    REQUIRE(s.target_tokens() == 2);
}

TEST_CASE("examples are of the row's family, never the row itself, and are not trained on", "[prompt]") {
    const std::vector<Record> records = many_records(20);
    const Shots shots = draw_shots(records, 6, 1000, 7);
    int64_t chosen = 0;
    std::set<std::vector<const Record*>> lists;
    for (size_t i = 0; i < records.size(); i++) {
        chosen += shots.is_shot[i];
        if (!shots.is_shot[i]) {
            REQUIRE(shots.of_row[i].size() == 6);
            lists.insert(shots.of_row[i]);
        }
        for (const Record* shot : shots.of_row[i]) {
            REQUIRE(shot->instruction != records[i].instruction);
            REQUIRE(shots.is_shot[static_cast<size_t>(shot - records.data())]);
        }
    }
    REQUIRE(chosen == 6);
    REQUIRE(lists.size() == 1); // shared by the block
    REQUIRE(draw_shots(records, 6, 1000, 7).is_shot == shots.is_shot);
    REQUIRE(draw_shots(records, 6, 1000, 8).is_shot != shots.is_shot);
    REQUIRE(draw_shots(records, 0, 1000, 7).of_row[0].empty());
    REQUIRE_THROWS_WITH(draw_shots(many_records(6), 6, 1000, 7), Contains("use fewer --shots"));
}

TEST_CASE("similar examples are drawn from the nearest questions of the family, and nothing is left out", "[prompt]") {
    std::vector<Record> records = many_records(3);
    for (const char* question : {"red apple pie", "red apple juice", "red plum pie", "green old boat"}) {
        records.push_back(sample_record(question));
        records.back().task_name = "fruit";
    }
    const Shots two = similar_shots(records, 2, 2, 7);
    REQUIRE(two.of_row[3] == std::vector<const Record*>{&records[4], &records[5]}); // two words in common; ties by row
    for (size_t i = 0; i < records.size(); i++) {
        REQUIRE(!two.is_shot[i]);
        for (const Record* shot : two.of_row[i]) {
            REQUIRE(shot->task_name == records[i].task_name);
            REQUIRE(shot != &records[i]);
        }
    }
    std::set<const Record*> drawn; // one of the two nearest: which one, the seed says
    for (uint64_t seed = 0; seed < 20; seed++) {
        const Shots one = similar_shots(records, 1, 2, seed);
        REQUIRE(one.of_row[3].size() == 1);
        drawn.insert(one.of_row[3][0]);
        REQUIRE(one.of_row[3] == similar_shots(records, 1, 2, seed).of_row[3]);
    }
    REQUIRE(drawn == std::set<const Record*>{&records[4], &records[5]});
    REQUIRE(similar_shots(records, 0, 2, 7).of_row[3].empty());
    REQUIRE_THROWS_WITH(similar_shots(records, 3, 6, 7), Contains("use fewer --shots"));

    const StageRows rows = [&] {
        PromptSettings settings;
        settings.templates = kTemplates;
        settings.shots_from = "similar";
        settings.nearest_shots = 2;
        settings.cutoff_len = 100000;
        Stage stage;
        stage.keep = 1;
        stage.shots = 2;
        return make_stage_rows(method_by_name("skintern"), stage, records, rank_all(records), byte_tokenizer(), settings);
    }();
    REQUIRE(rows.rows.size() == records.size());
    REQUIRE(rows.as_shots == 0);
}

TEST_CASE("a row that does not fit loses knowledge, then examples, never question, target or EOS", "[prompt]") {
    const Bpe bpe = byte_tokenizer();
    const std::vector<Record> train = many_records(12);
    const std::vector<RankedText> ranked = rank_all(train);
    const Method& method = method_by_name("skintern");
    const Stage first = method_stages(method, {}).front();
    PromptSettings settings;
    settings.templates = kTemplates;
    settings.cutoff_len = 100000;
    const int64_t full =
        static_cast<int64_t>(make_stage_rows(method, first, train, ranked, bpe, settings).rows[0][0].ids.size());
    const int64_t bare = static_cast<int64_t>(kStdPrompt.size() + train[0].response.size()) + 2;
    bool saw_knowledge_cut = false, saw_shots_cut = false;
    for (int64_t cutoff = full; cutoff >= bare; cutoff -= 40) {
        settings.cutoff_len = cutoff;
        const StageRows rows = make_stage_rows(method, first, train, ranked, bpe, settings);
        saw_knowledge_cut |= rows.knowledge_cut > 0 && rows.shots_cut == 0;
        saw_shots_cut |= rows.shots_cut > 0;
        for (const Row& row : rows.rows) {
            const Sample& s = row[0];
            REQUIRE(static_cast<int64_t>(s.ids.size()) <= cutoff);
            const std::string text = text_of(bpe, s.ids);
            REQUIRE(text.find("\n\nQuestion: What is ") != std::string::npos);
            REQUIRE(bpe.decode({s.ids.begin() + s.prompt_tokens, s.ids.end()}) == " " + train[0].response);
            REQUIRE(s.ids.back() == bpe.eos());
        }
    }
    REQUIRE(saw_knowledge_cut);
    REQUIRE(saw_shots_cut);
    settings.cutoff_len = 20;
    const StageRows none = make_stage_rows(method, first, train, ranked, bpe, settings);
    REQUIRE(none.rows.empty());
    REQUIRE(none.left_out == 6); // the other six are the examples
}

TEST_CASE("shortening keeps nested, ordered words, all at 1 and none at 0", "[compress]") {
    const std::string text = "Find the price.\nThe price of a brask is 7 coins.";
    const std::vector<std::string> words = split_words(text);
    REQUIRE(words.size() == 11);
    std::vector<double> scores;
    for (size_t w = 0; w < words.size(); w++) {
        scores.push_back(static_cast<double>((w * 7) % 11));
    }
    const RankedText ranked = rank_words(text, scores);
    REQUIRE(shorten(ranked, 1) == text);
    REQUIRE(shorten(ranked, 0).empty());
    std::vector<std::string> before = split_words(text);
    for (const double keep : {0.8, 2.0 / 3, 0.5, 1.0 / 3, 0.1}) {
        const std::vector<std::string> now = split_words(shorten(ranked, keep));
        REQUIRE(now.size() == static_cast<size_t>(std::ceil(keep * 11 - 1e-9)));
        size_t at = 0; // every kept word stands in the earlier text, in order
        for (const std::string& word : now) {
            const auto bare = [](const std::string& w) { return w.substr(w.find_first_not_of(" \n")); };
            while (at < before.size() && bare(before[at]) != bare(word)) {
                at++;
            }
            REQUIRE(at++ < before.size());
        }
        before = now;
    }
    REQUIRE_THROWS(rank_words(text, {1.0}));
}

// What is dropped first: test_compress.cpp.
TEST_CASE("self-information ranks a text of no words, and ranks alike with a BOS where every token is as likely", "[compress]") {
    const auto kernels = make_kernels({});
    const Bpe bpe = byte_tokenizer();
    Transformer model(*kernels, byte_model(), Train::nothing, no_adapter());
    const std::vector<RankedText> ranked = rank_by_information(model, bpe, -1, {"one two three four", "", "x"});
    REQUIRE(ranked.size() == 3);
    REQUIRE(ranked[0].words.size() == 4);
    REQUIRE(shorten(ranked[0], 0.5).size() > 0);
    REQUIRE(ranked[1].words.empty());
    // With BOS nothing changes but that the first token is predicted from it.
    REQUIRE(rank_by_information(model, bpe, 3, {"one two three four"})[0].words == ranked[0].words);
}

TEST_CASE("a damaged template file is refused by file and field", "[prompt]") {
    const TempFolder folder;
    const std::string path = folder / "templates.json";
    write_file(path, "{\"instruction\": \"a\", \"format\": 3}");
    REQUIRE_THROWS_WITH(read_templates(path), Contains(path) && Contains("format"));
    write_file(path, "{");
    REQUIRE_THROWS_WITH(read_templates(path), Contains(path) && Contains("JSON"));
}

TEST_CASE("CasCoD asks for the rationale, then for the answer with the rationale in the prompt", "[prompt]") {
    const auto kernels = make_kernels({});
    const Bpe bpe = byte_tokenizer();
    Transformer model(*kernels, byte_model(), Train::nothing, no_adapter());
    Rng rng(2);
    model.init_weights(rng);
    PromptSettings settings;
    settings.templates = kTemplates;
    EvalConfig evaluation;
    evaluation.max_new_tokens = 5;
    const std::vector<Record> records = many_records(3);
    const Method& method = method_by_name("cascod");
    const std::vector<EvalRow> rows = evaluate_method(method, model, bpe, records, settings, {}, evaluation);
    const std::vector<EvalRow> first =
        evaluate(model, bpe, records, evaluation_prompts(method, records, settings, {}), evaluation);
    for (size_t i = 0; i < records.size(); i++) {
        REQUIRE(rows[i].generated.starts_with(first[i].generated + " Therefore, the answer is"));
        REQUIRE(rows[i].new_tokens > first[i].new_tokens);
        // The second prompt has what the first had, the rationale instead of "Rationale:", and MARK.
        Context context;
        context.ask = Ask::conclusion;
        context.rationale = trimmed(rationale_of(first[i].generated));
        const int64_t second = static_cast<int64_t>(make_prompt(kTemplates, records[i], context).size());
        REQUIRE(rows[i].prompt_tokens == first[i].prompt_tokens + second);
        REQUIRE(rows[i].flops > first[i].flops);
    }
}
