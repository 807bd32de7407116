// matmul_cpu.cpp — products of matrices on the CPU, for every layout, every shape and every type of weight.
//
// After Goto & van de Geijn 2008 (Anatomy of high-performance matrix multiplication) and BLIS (Van Zee & van de Geijn
// 2015). From the inside out:
//
//   micro-kernel   a tile of out stays in registers while k runs (micro_kernel.h)
//   packing        it reads a and b as if each were one long array: panels, which are copied together from whatever the
//                  layout and the type of the weight were (panels.h); that is also where the layouts become one
//   blocking       k is cut in pieces of at most kPieceWords words, and pieces are taken together in blocks: a panel of a
//                  and of b then fit the second-level cache. A task takes kTaskRows rows and some panels of b; with a panel
//                  of b in hand it goes through its panels of a. b is packed once, by all threads together, unless it is
//                  a weight that was packed for good; a by the thread that takes the task, unless its rows are words
//                  already (floats, or pairs of BF16): those are read where they lie.
//
// An element of out is the sum over k in order, block after block, whatever tile it lies in and whichever thread takes
// that tile: the result does not depend on the number of threads.
//
// Layers of few rows go another way: few_rows_cpu.cpp.
//
// Cost: M N K multiply-adds and at most (M + N) K copies, M K again for each kBlockPanels of b. Scratch: two blocks of b
// of at most kBlockPanels panels, and kTaskRows rows of a block of a in each thread.
#include "cpu.h"
#include "micro_kernel.h"

namespace skintern::SKINTERN_ISA {

namespace {

constexpr int64_t kPieceWords = 640;
constexpr int64_t kBlockWords = kPieceWords + 128; // a piece of a weight's K, and the ranks of an adapter with it
constexpr int64_t kBlockPanels = 128;              // of b, packed at a time
constexpr int64_t kTasksPerThread = 4; // at least, so that the last of them does not keep the others waiting
// Multiply-adds below which waking the other threads costs more.
constexpr int64_t kParallelWork = 256 * 1024;

constexpr int64_t kNarrow = 128; // columns of an out of tn that are few

template <Words W>
constexpr int64_t kTaskRows = (kTiled<W> ? 8 : 16) * kPanelRows<W>;

// ---- how K is cut ------------------------------------------------------------------------------------------------------

// Words w0 .. w0+words-1 of K of a term.
struct Cut {
    int64_t term, w0, words;
};

// What one pass over out adds. The cuts depend on the shapes alone, because they decide the order of sums.
struct Block {
    Cut cuts[kMaxPieces];
    int64_t count = 0;
    int64_t words = 0; // of all cuts, padded
};

// Gives the blocks of a product one after the other; after the last one, empty ones.
template <Words W>
class Blocks {
public:
    Blocks() {}
    explicit Blocks(const Product& product) : product_(&product) {}

    Block next() {
        Block block;
        while (term_ < product_->term_count && block.count < kMaxPieces) {
            const int64_t words = words_of<W>(product_->terms[term_].K);
            const int64_t length = piece_words(words), left = min_of(words - w0_, length);
            if (block.count > 0 && block.words + padded_words<W>(left) > kBlockWords) {
                break;
            }
            if (left > 0) {
                block.cuts[block.count++] = {term_, w0_, left};
                block.words += padded_words<W>(left);
                w0_ += left;
            }
            if (w0_ == words) {
                term_++;
                w0_ = 0;
            }
        }
        return block;
    }

private:
    // K in equal pieces.
    static int64_t piece_words(int64_t words) {
        return round_up(ceil_div(words, max_of(ceil_div(words, kPieceWords), 1)), 16);
    }

    const Product* product_ = nullptr;
    int64_t term_ = 0, w0_ = 0; // where the next cut begins
};

// ---- the call ----------------------------------------------------------------------------------------------------------

// The panels of b of all products stand in one row: those of the first product, those of the second, ... Products of the
// same b (the gradients of several A, of one input) share what was packed for the first of them.
template <Words W>
struct Call {
    Layout layout;
    const Product* list;
    int64_t count, M;
    int64_t first_panel[kMaxProducts + 1];
    int64_t owner[kMaxProducts]; // the first product of the same b
    bool reads_packed;           // weights that are packed have these words
    bool depends = false;        // an a is the out of an earlier product
    int64_t block_words = 0; // of the largest block
    int64_t work = 0;        // multiply-adds

    Call(Layout layout_, const Product* list_, int64_t count_, int64_t M_, bool reads_packed_)
        : layout(layout_), list(list_), count(count_), M(M_), reads_packed(reads_packed_) {
        first_panel[0] = 0;
        for (int64_t p = 0; p < count; p++) {
            first_panel[p + 1] = first_panel[p] + ceil_div(list[p].N, kPanelColumns);
            owner[p] = p;
            for (int64_t q = 0; q < p; q++) {
                const bool same = list[p].term_count == 1 && list[q].term_count == 1 && list[p].N == list[q].N &&
                                  list[p].terms[0].b.data == list[q].terms[0].b.data &&
                                  list[p].terms[0].K == list[q].terms[0].K;
                owner[p] = same && owner[p] == p ? q : owner[p];
                depends = depends || reads(list[p], list[q].out);
            }
            Blocks<W> blocks(list[p]);
            for (Block block = blocks.next(); block.count > 0; block = blocks.next()) {
                block_words = max_of(block_words, block.words);
                work += M * list[p].N * block.words * kPerWord<W>;
            }
        }
    }

    int64_t panels() const { return first_panel[count]; }
    int64_t product_of(int64_t panel) const {
        int64_t p = 0;
        while (panel >= first_panel[p + 1]) {
            p++;
        }
        return p;
    }
    int64_t lda(const Term& term) const { return layout == Layout::tn ? M : term.K; }
    bool is_packed(const Term& term) const { return reads_packed && layout == Layout::nt && term.b.packed != nullptr; }
    bool all_packed() const {
        for (int64_t p = 0; p < count; p++) {
            for (int64_t t = 0; t < list[p].term_count; t++) {
                if (!is_packed(list[p].terms[t])) {
                    return false;
                }
            }
        }
        return true;
    }
    static bool reads(const Product& product, const float* out) {
        for (int64_t t = 0; t < product.term_count; t++) {
            if (product.terms[t].a.data == out) {
                return true;
            }
        }
        return false;
    }
};

// Where a panel of b begins, its width in memory, and how many columns exist.
struct Panel {
    int64_t n0, columns, width;
};

Panel panel_at(int64_t panel, int64_t N) {
    const int64_t n0 = panel * kPanelColumns, columns = min_of(N - n0, kPanelColumns);
    return {n0, columns, columns > kLanes ? kPanelColumns : kLanes};
}

// Panel `panel` of a weight that is packed for good, from word w0.
template <Words W>
const float* packed_panel(const void* packed, const Panel& panel, int64_t K, int64_t w0) {
    return static_cast<const float*>(packed) + panel.n0 * padded_words<W>(words_of<W>(K)) + w0 * panel.width;
}

// ---- packing -----------------------------------------------------------------------------------------------------------

// The cuts of one panel of b, one after the other.
template <Words W>
void pack_panel(const Call<W>& call, const Product& product, const Block& block, float* packed, const Panel& panel) {
    for (int64_t c = 0; c < block.count; c++) {
        const Cut& cut = block.cuts[c];
        const Term& term = product.terms[cut.term];
        if (!call.is_packed(term)) {
            const int64_t k0 = cut.w0 * kPerWord<W>, K = min_of(term.K - k0, cut.words * kPerWord<W>);
            pack_b<W>(packed, call.layout, term.b, call.layout == Layout::nt ? term.K : product.N, panel.n0,
                      panel.columns, panel.width, k0, K);
        }
        packed += padded_words<W>(cut.words) * panel.width;
    }
}

// Rows of a in panels, one cut after the other. Products of one call share their a: what is packed already stays.
template <Words W>
class PackedRows {
public:
    explicit PackedRows(float* scratch) : packed_(scratch) {}

    // Rows m0 .. m0+rows-1 of every cut of the block.
    void pack(const Call<W>& call, const Product& product, const Block& block, int64_t m0, int64_t rows) {
        int64_t at = 0;
        in_columns_ = call.layout == Layout::tn && !kTiled<W>;
        for (int64_t c = 0; c < block.count; c++) {
            const Cut& cut = block.cuts[c];
            const Term& term = product.terms[cut.term];
            const int64_t k0 = cut.w0 * kPerWord<W>, K = min_of(term.K - k0, cut.words * kPerWord<W>);
            ready_[c] = {nullptr, 0, 0};
            if (lies_ready(call, term, cut)) {
                const char* a = static_cast<const char*>(term.a.data) + row_bytes(term.a.type, m0 * term.K + k0);
                ready_[c] = {a, row_bytes(term.a.type, term.K), whole_panels(rows)};
            }
            const Key key = {term.a.data, cut.w0, cut.words, m0, at};
            if (!(c < known_ && same(keys_[c], key))) {
                for (int64_t i = ready_[c].rows; i < rows; i += kPanelRows<W>) {
                    pack_a<W>(packed_ + at + i * padded_words<W>(cut.words), call.layout, term.a, call.lda(term), m0 + i,
                              min_of(rows - i, kPanelRows<W>), k0, K);
                }
                keys_[c] = key;
                known_ = c + 1; // those behind it may lie elsewhere now
            }
            at += round_up(rows, kPanelRows<W>) * padded_words<W>(cut.words);
        }
    }

    // The micro-kernel takes words from the rows of a where they lie: floats, or BF16 where it multiplies pairs of them, in
    // whole words and tiles.
    static bool lies_ready(const Call<W>& call, const Term& term, const Cut& cut) {
        const bool whole = W == Words::floats || (term.K % 2 == 0 && cut.words % kGranule<W> == 0);
        const WeightType type = W == Words::floats ? WeightType::f32 : WeightType::bf16;
        return W != Words::rounded && call.layout != Layout::tn && term.a.type == type && whole;
    }

    // Cut c of the panel that begins at row i.
    void set_panel(Piece& piece, int64_t c, int64_t i) const {
        const bool ready = i < ready_[c].rows;
        piece.lda = ready ? ready_[c].row_bytes / 4 : in_columns_ ? 0 : padded_words<W>(keys_[c].words);
        piece.a = ready ? reinterpret_cast<const float*>(ready_[c].a + i * ready_[c].row_bytes)
                        : packed_ + keys_[c].at + i * padded_words<W>(keys_[c].words);
    }

private:
    // A cut that is packed.
    struct Key {
        const void* a;
        int64_t w0, words, m0, at;
    };
    // A cut whose first `rows` rows are read where they lie.
    struct Ready {
        const char* a;
        int64_t row_bytes, rows;
    };
    // Tiles read 16 rows at a time: behind the last row there may be no memory.
    static int64_t whole_panels(int64_t rows) {
        return !kTiled<W> || rows % 16 == 0 ? rows : rows / kPanelRows<W> * kPanelRows<W>;
    }
    static bool same(const Key& x, const Key& y) {
        return x.a == y.a && x.w0 == y.w0 && x.words == y.words && x.m0 == y.m0 && x.at == y.at;
    }

    float* packed_;
    Key keys_[kMaxPieces];
    Ready ready_[kMaxPieces] = {};
    int64_t known_ = 0;
    bool in_columns_ = false; // what is packed: (words,rows)
};

// ---- tasks -------------------------------------------------------------------------------------------------------------

// One panel of b with all rows of a task.
template <Words W>
void multiply_panel(const Call<W>& call, const Product& product, const Block& block, bool first_block,
                    const PackedRows<W>& packed_a, const float* packed_b, const Panel& panel, int64_t m0, int64_t rows) {
    Piece pieces[kMaxPieces];
    for (int64_t c = 0; c < block.count; c++) {
        const Cut& cut = block.cuts[c];
        const Term& term = product.terms[cut.term];
        pieces[c].words = padded_words<W>(cut.words);
        pieces[c].b = call.is_packed(term) ? packed_panel<W>(term.b.packed, panel, term.K, cut.w0) : packed_b;
        packed_b += pieces[c].words * panel.width;
    }
    const float* base = first_block ? product.base : product.out;
    for (int64_t i = 0; i < rows; i += kPanelRows<W>) {
        for (int64_t c = 0; c < block.count; c++) {
            packed_a.set_panel(pieces[c], c, i);
        }
        const int64_t at = (m0 + i) * product.N + panel.n0;
        const OutTile tile = {product.out + at, base != nullptr ? base + at : nullptr, product.N,
                              min_of(rows - i, kPanelRows<W>), panel.columns, product.alpha};
        micro_kernel<W>(tile, pieces, block.count);
    }
}

// How the work is cut between threads; this decides who computes an element, not how.
struct Plan {
    int64_t rows;         // of a task
    int64_t panels;       // of b, of a task
    int64_t chunk_panels; // of b, packed at a time
    bool all_packed;      // for good: nothing of b is
};

template <Words W>
Plan make_plan(const Call<W>& call, bool all_packed, int threads) {
    const int64_t chunk = all_packed ? call.panels() : min_of(call.panels(), kBlockPanels);
    const int64_t rows = min_of(kTaskRows<W>, round_up(call.M, kPanelRows<W>));
    if (call.depends) { // a task goes through all products of its rows, in order
        return {min_of(rows, round_up(ceil_div(call.M, kTasksPerThread * threads), kPanelRows<W>)), chunk, chunk,
                all_packed};
    }
    const int64_t column_groups = ceil_div(kTasksPerThread * threads, ceil_div(call.M, rows));
    return {rows, ceil_div(chunk, column_groups), chunk, all_packed};
}

// Products that depend on each other are worth one pass when there is a task of whole panels for each thread.
template <Words W>
bool is_worth_one_pass(const Call<W>& call, int threads) {
    return !call.depends || call.M >= 2 * threads * kPanelRows<W>;
}

// The panels from `begin` on, at most chunk_panels, of one block of every product.
template <Words W>
void multiply_chunk(const Call<W>& call, const Plan& plan, const Block* blocks, bool first_block, float* packed_b,
                    float* packed_a, int64_t a_floats, Team& team, int64_t begin) {
    const int64_t end = min_of(call.panels(), begin + plan.chunk_panels);
    const int64_t panel_floats = call.block_words * kPanelColumns;
    const bool together = call.work > kParallelWork;
    team.each(plan.all_packed ? 0 : end - begin, together, [&](int64_t i) {
        const int64_t n = begin + i, p = call.product_of(n);
        if (call.owner[p] == p || call.panels() > plan.chunk_panels) {
            pack_panel<W>(call, call.list[p], blocks[p], packed_b + i * panel_floats,
                          panel_at(n - call.first_panel[p], call.list[p].N));
        }
    });
    const int64_t column_tasks = ceil_div(end - begin, plan.panels);
    team.share(ceil_div(call.M, plan.rows) * column_tasks, together, [&](Tasks& tasks) {
        [[maybe_unused]] const TileRegisters tiles;
        PackedRows<W> rows_of_a(packed_a + tasks.thread() * a_floats);
        for (int64_t task; tasks.take(task);) {
            const int64_t m = task / column_tasks * plan.rows, n0 = begin + task % column_tasks * plan.panels;
            const int64_t rows = min_of(plan.rows, call.M - m);
            int64_t packed_for = -1; // the product whose a is packed
            for (int64_t n = n0; n < min_of(end, n0 + plan.panels); n++) {
                const int64_t p = call.product_of(n);
                if (blocks[p].count == 0) {
                    continue;
                }
                if (p != packed_for) {
                    rows_of_a.pack(call, call.list[p], blocks[p], m, rows);
                    packed_for = p;
                }
                const bool shared = call.owner[p] != p && call.panels() <= plan.chunk_panels;
                const int64_t packed_n = n - call.first_panel[p] + call.first_panel[shared ? call.owner[p] : p];
                multiply_panel<W>(call, call.list[p], blocks[p], first_block, rows_of_a,
                                  packed_b + (packed_n - begin) * panel_floats,
                                  panel_at(n - call.first_panel[p], call.list[p].N), m, rows);
            }
        }
    });
}

// Scratch: a buffer for b, and one for a in each thread.
template <Words W>
void packed_products(const Call<W>& call, const Plan& plan, float* scratch, int64_t b_floats, int64_t a_floats,
                     Team& team) {
    for (int64_t begin = 0; begin < call.panels(); begin += plan.chunk_panels) {
        Blocks<W> cutting[kMaxProducts];
        for (int64_t p = 0; p < call.count; p++) {
            cutting[p] = Blocks<W>(call.list[p]);
        }
        for (bool first = true;; first = false) {
            Block blocks[kMaxProducts];
            int64_t cuts = 0;
            for (int64_t p = 0; p < call.count; p++) {
                blocks[p] = cutting[p].next();
                cuts += blocks[p].count;
            }
            if (cuts == 0) {
                break;
            }
            multiply_chunk<W>(call, plan, blocks, first, scratch, scratch + b_floats, a_floats, team, begin);
        }
    }
}

void by_library(LibraryMatmul library, int threads, Layout layout, const Product* list, int64_t count, int64_t M) {
    for (int64_t p = 0; p < count; p++) {
        const Product& product = list[p];
        if (product.base != nullptr && product.base != product.out) {
            __builtin_memcpy(product.out, product.base, static_cast<size_t>(M * product.N) * sizeof(float));
        }
        for (int64_t t = 0; t < product.term_count; t++) {
            const Term& term = product.terms[t];
            library(threads, layout, product.out, term.a.numbers(), term.b.numbers(), M, product.N, term.K, product.alpha,
                    t > 0 || product.base != nullptr);
        }
    }
}

// out = base or 0, where there is nothing to add.
void empty_sum(const Product& product, int64_t M) {
    for (int64_t i = 0; i < M * product.N; i++) {
        product.out[i] = product.base != nullptr ? product.base[i] : 0.0f;
    }
}

} // namespace

// ---- the ops -----------------------------------------------------------------------------------------------------------

void CpuKernels::products(Layout layout, const Product* list, int64_t count, int64_t M) {
    bool all_floats = true, floats_a = true;
    for (int64_t p = 0; p < count; p++) {
        int64_t K = 0;
        for (int64_t t = 0; t < list[p].term_count; t++) {
            floats_a = floats_a && list[p].terms[t].a.type == WeightType::f32;
            all_floats = all_floats && floats_a && list[p].terms[t].b.type == WeightType::f32;
            K += list[p].terms[t].K;
        }
        if (K == 0) {
            empty_sum(list[p], M);
        }
    }
    if (library_ != nullptr && all_floats) {
        by_library(library_, threads_, layout, list, count, M);
    } else if (layout == Layout::nt && M <= kFewRows && floats_a) {
        few_rows(list, count, M);
    } else if (layout == Layout::tn && count == 1 && list->N < M && list->N <= kNarrow) {
        turned_product(*list, M);
    } else if (bf16_ && !(layout == Layout::nt && M <= kFewRows)) {
        packed<kBf16Words>(layout, list, count, M);
    } else {
        packed<Words::floats>(layout, list, count, M);
    }
}

template <Words W>
void CpuKernels::packed(Layout layout, const Product* list, int64_t count, int64_t M) {
    const bool reads_packed = W == (bf16_ ? kBf16Words : Words::floats);
    const Call<W> call(layout, list, count, M, reads_packed);
    if (call.panels() == 0 || M == 0 || call.block_words == 0) {
        return;
    }
    if (!is_worth_one_pass(call, threads_)) {
        int64_t first = 1; // the first product that reads an earlier one
        while (!Call<W>(layout, list, first + 1, M, reads_packed).depends) {
            first++;
        }
        packed<W>(layout, list, first, M);
        packed<W>(layout, list + first, count - first, M);
        return;
    }
    const bool all_packed = call.all_packed();
    const Plan plan = make_plan(call, all_packed, threads_);
    const int64_t b_floats = all_packed ? 0 : plan.chunk_panels * kPanelColumns * call.block_words;
    const int64_t a_floats = plan.rows * call.block_words;
    packed_products<W>(call, plan, scratch(b_floats + threads_ * a_floats), b_floats, a_floats, team_);
}

// out(M,N) of tn with few columns (the gradient of an adapter's B) is computed as its transpose: then the long operand
// is the one that lies in wide panels.
void CpuKernels::turned_product(const Product& product, int64_t M) {
    const int64_t N = product.N;
    Product turned;
    turned.out = scratch(M * N, 1);
    turned.N = M;
    for (int64_t t = 0; t < product.term_count; t++) {
        const Term& term = product.terms[t];
        turned.add(term.b, term.a, term.K);
    }
    products(Layout::tn, &turned, 1, N);
    for (int64_t m = 0; m < M; m++) {
        for (int64_t n = 0; n < N; n++) {
            const int64_t at = m * N + n;
            product.out[at] = (product.base != nullptr ? product.base[at] : 0.0f) + product.alpha * turned.out[n * M + m];
        }
    }
}

namespace {

// Floats of a weight that is packed for good: panels of all its words.
template <Words W>
int64_t packed_floats(int64_t N, int64_t K) {
    const Panel last = panel_at(max_of(ceil_div(N, kPanelColumns) - 1, 0), N);
    return (last.n0 + last.width) * padded_words<W>(words_of<W>(K));
}

template <Words W>
void pack_weight(float* packed, Matrix b, int64_t N, int64_t K, Team& team) {
    const int64_t words = padded_words<W>(words_of<W>(K));
    team.each(ceil_div(N, kPanelColumns), true, [&](int64_t n) {
        const Panel panel = panel_at(n, N);
        pack_b<W>(packed + panel.n0 * words, Layout::nt, b, K, panel.n0, panel.columns, panel.width, 0, K);
    });
}

} // namespace

size_t CpuKernels::packed_bytes(Rows rows, Matrix b, int64_t N, int64_t K) const {
    if (rows == Rows::few) {
        return few_packed_bytes(b, N, K);
    }
    const int64_t floats = bf16_ ? packed_floats<kBf16Words>(N, K) : packed_floats<Words::floats>(N, K);
    return library_ != nullptr ? 0 : static_cast<size_t>(floats) * sizeof(float);
}

void CpuKernels::pack(Rows rows, void* packed, Matrix b, int64_t N, int64_t K) {
    if (rows == Rows::few) {
        pack_few(packed, b, N, K);
    } else if (bf16_) {
        pack_weight<kBf16Words>(static_cast<float*>(packed), b, N, K, team_);
    } else {
        pack_weight<Words::floats>(static_cast<float*>(packed), b, N, K, team_);
    }
}

// ---- the roof ----------------------------------------------------------------------------------------------------------

// As many independent sums as the micro-kernel holds, and nothing else: what no product can be faster than.
template <Words W>
int64_t spin(int64_t rounds, float* sink) {
    constexpr int kSums = 12;
    vec sum[kSums]; // all different, or the compiler would compute one of them for all
    for (int j = 0; j < kSums; j++) {
        sum[j] = broadcast(*sink + static_cast<float>(j));
    }
    const vec x = broadcast(*sink + 0.5f);
    for (int64_t i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int j = 0; j < kSums; j++) {
            sum[j] = multiply_add<W>(sum[j], x, x);
        }
    }
    for (int j = 0; j < kSums; j++) {
        *sink += sum_lanes(sum[j]);
    }
    return rounds * kSums * kLanes * 2 * kPerWord<W>;
}

#if defined(__AMX_BF16__)
int64_t spin_tiles(int64_t rounds, float* sink) {
    const TileRegisters tiles;
    alignas(64) float zeros[256] = {};
    tile_fence();
    _tile_loadd(4, zeros, 64);
    _tile_loadd(6, zeros, 64);
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t i = 0; i < rounds; i++) {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 6);
        _tile_dpbf16ps(2, 4, 6);
        _tile_dpbf16ps(3, 4, 6);
    }
    _tile_stored(0, zeros, 64);
    *sink += zeros[0];
    return rounds * 4 * 2 * 16 * 16 * 32;
}
#endif

int64_t spin_multiply_adds(int64_t rounds, float* sink, bool bf16) {
#if defined(__AMX_BF16__)
    if (bf16) {
        return spin_tiles(rounds / 8, sink);
    }
#endif
    return bf16 ? spin<kBf16Words>(rounds, sink) : spin<Words::floats>(rounds, sink);
}

Kernels* make_cpu_kernels(const CpuSettings& settings) {
    return new CpuKernels(settings);
}

} // namespace skintern::SKINTERN_ISA
