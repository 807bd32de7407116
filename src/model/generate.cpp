// generate.cpp — see generate.h. A pass: free slots take waiting prompts, the rows of all slots are packed, each slot
// gets its next token.
#include "model/generate.h"

#include <algorithm>

#include "support/check.h"

namespace skintern {

namespace {

constexpr int64_t kPrefillTokens = 4096; // prompt rows that may join one pass
constexpr int64_t kWorthWaiting = 16;    // shared tokens for which a prompt waits a pass rather than compute them again

struct Slot {
    int64_t prompt = -1;       // which prompt, -1: free
    bool fresh = false;        // took its prompt in this pass
    int32_t next = 0;          // the token to feed, unless fresh
    std::vector<int32_t> held; // the tokens whose keys and values stand in the cache, from position 0
};

int64_t common_length(const std::vector<int32_t>& a, const std::vector<int32_t>& b) {
    const size_t size = std::min(a.size(), b.size());
    return std::mismatch(a.begin(), a.begin() + static_cast<int64_t>(size), b.begin()).first - a.begin();
}

// One call of generate().
class Decoder {
public:
    Decoder(Transformer& model, const std::vector<std::vector<int32_t>>& prompts, const GenerateConfig& config);
    std::vector<Generation> run();

private:
    int64_t limit(int64_t prompt) const;
    void make_room();
    void fill_free_slots();
    bool take(Slot& slot, const std::vector<int32_t>& prompt);
    void step();
    void accept(Slot& slot, int32_t token);

    Transformer* model_;
    const std::vector<std::vector<int32_t>>* prompts_;
    const GenerateConfig* config_;
    std::vector<Slot> slots_;
    std::vector<Generation> out_;
    int64_t waiting_ = 0, finished_ = 0; // the next prompt to start; prompts that are done
};

Decoder::Decoder(Transformer& model, const std::vector<std::vector<int32_t>>& prompts, const GenerateConfig& config)
    : model_(&model), prompts_(&prompts), config_(&config), out_(prompts.size()) {
    CHECK(config.max_new_tokens >= 1 && config.batch_size >= 1, "generation needs room for at least one token");
    for (const std::vector<int32_t>& prompt : prompts) {
        CHECK(!prompt.empty(), "a prompt is empty: generation needs at least one token to start from");
        CHECK(config.max_positions == 0 || static_cast<int64_t>(prompt.size()) < config.max_positions,
              "a prompt of %zu tokens leaves no room for an answer in %lld positions", prompt.size(),
              static_cast<long long>(config.max_positions));
    }
}

// New tokens that a prompt may have.
int64_t Decoder::limit(int64_t prompt) const {
    const int64_t size = static_cast<int64_t>((*prompts_)[static_cast<size_t>(prompt)].size());
    return config_->max_positions == 0 ? config_->max_new_tokens
                                       : std::min(config_->max_new_tokens, config_->max_positions - size);
}

// As many slots as asked for, as there are prompts, and as the cache may take: at least one.
void Decoder::make_room() {
    int64_t capacity = 0;
    for (size_t i = 0; i < prompts_->size(); i++) {
        capacity =
            std::max(capacity, static_cast<int64_t>((*prompts_)[i].size()) + limit(static_cast<int64_t>(i)));
    }
    const ModelConfig& c = model_->config();
    const int64_t position_bytes =
        2 * c.layers * row_bytes(config_->cache_type, c.kv_heads * c.head_size); // a key and a value each layer
    const int64_t fit = std::max<int64_t>(1, config_->cache_bytes / (position_bytes * capacity));
    slots_.resize(
        static_cast<size_t>(std::min({config_->batch_size, static_cast<int64_t>(prompts_->size()), fit})));
    model_->start_cache(static_cast<int64_t>(slots_.size()), capacity, config_->cache_type);
}

// Gives `slot` the prompt with what some slot already holds of its beginning; false when it should wait for a prompt
// that is computed in this pass and shares more.
bool Decoder::take(Slot& slot, const std::vector<int32_t>& prompt) {
    const Slot* from = &slot;
    int64_t shared = 0;
    if (config_->share_prefixes) {
        shared = common_length(slot.held, prompt);
        int64_t soon = 0;
        for (const Slot& other : slots_) {
            const int64_t common = common_length(other.held, prompt);
            if (common > shared) {
                shared = common;
                from = &other;
            }
            soon = other.fresh ? std::max(soon, common_length((*prompts_)[static_cast<size_t>(other.prompt)], prompt))
                               : soon;
        }
        if (soon >= shared + kWorthWaiting) {
            return false;
        }
        // The last token is always fed: its row is the one that predicts.
        shared = std::min(shared, static_cast<int64_t>(prompt.size()) - 1);
        if (from != &slot) {
            model_->copy_cache(&slot - slots_.data(), from - slots_.data(), shared);
        }
    }
    slot.held.assign(prompt.begin(), prompt.begin() + shared);
    slot.fresh = true;
    return true;
}

void Decoder::fill_free_slots() {
    int64_t rows = 0;
    for (Slot& slot : slots_) {
        if (waiting_ == static_cast<int64_t>(prompts_->size()) || rows >= kPrefillTokens) {
            return;
        }
        if (slot.prompt >= 0) {
            continue;
        }
        const std::vector<int32_t>& prompt = (*prompts_)[static_cast<size_t>(waiting_)];
        if (!take(slot, prompt)) {
            return; // in order: those behind it wait as well
        }
        slot.prompt = waiting_++;
        rows += static_cast<int64_t>(prompt.size() - slot.held.size());
    }
}

void Decoder::accept(Slot& slot, int32_t token) {
    Generation& g = out_[static_cast<size_t>(slot.prompt)];
    slot.next = token;
    g.steps++;
    const bool eos = token == config_->eos;
    if (!eos) {
        g.ids.push_back(token);
    }
    g.finished = eos || (config_->stop && config_->stop(g.ids));
    if (g.finished || g.steps == limit(slot.prompt)) {
        if (config_->done) {
            config_->done(slot.prompt, g);
        }
        slot.prompt = -1;
        finished_++;
    }
}

void Decoder::step() {
    fill_free_slots();
    Batch batch;
    std::vector<int32_t> slot_of, length_of; // of each sequence of the batch
    for (Slot& slot : slots_) {
        if (slot.prompt < 0) {
            continue;
        }
        const int64_t begin = static_cast<int64_t>(slot.held.size());
        if (slot.fresh) {
            slot.held = (*prompts_)[static_cast<size_t>(slot.prompt)];
            slot.fresh = false;
        } else {
            slot.held.push_back(slot.next);
        }
        batch.add_sequence(std::vector<int32_t>(slot.held.begin() + begin, slot.held.end()), begin);
        batch.rows.push_back(static_cast<int32_t>(batch.tokens() - 1));
        slot_of.push_back(static_cast<int32_t>(&slot - slots_.data()));
        length_of.push_back(static_cast<int32_t>(slot.held.size()));
    }
    const std::vector<int32_t> next = model_->next_tokens(batch, slot_of, length_of);
    for (size_t i = 0; i < next.size(); i++) {
        accept(slots_[static_cast<size_t>(slot_of[i])], next[i]);
    }
}

std::vector<Generation> Decoder::run() {
    make_room();
    while (finished_ < static_cast<int64_t>(prompts_->size())) {
        step();
    }
    return std::move(out_);
}

} // namespace

std::vector<Generation> generate(Transformer& model, const std::vector<std::vector<int32_t>>& prompts,
                                 const GenerateConfig& config) {
    Decoder decoder(model, prompts, config);
    return prompts.empty() ? std::vector<Generation>() : decoder.run();
}

} // namespace skintern
