// A source of noise for UltraScale+: ring oscillators, sampled by a clock that knows nothing of them.
//
// What a sample is worth depends on how far the phases of the rings have drifted since the last one (boards/gateware/entropy.py
// takes one every INTERVAL cycles), hence on device, placement, voltage and temperature: measure it on the card
// (NIST SP 800-90B, section 3; unverified on a card).
//
// The loops are meant. Attributes keep the synthesiser off; omap_noise.xdc tells the implementation, for its design rule
// LUTLP-1, and so that no path through the rings is timed. No simulator can run them: for one there is a stand-in below.

`ifndef XILINX_SIMULATOR

(* KEEP_HIERARCHY = "TRUE" *)
module omap_noise #(
    parameter INDEX = 0  // number of the source; no two of four sources in a row have a ring of the same length
) (
    input  wire i_clk,
    output reg  o_bit
);
    localparam RINGS = 4;

    // Held until the first clock, so that every ring starts with one edge going round, not with several.
    (* DONT_TOUCH = "TRUE" *) reg run = 1'b0;
    always @(posedge i_clk) run <= 1'b1;

    wire [RINGS-1:0] sampled;
    genvar number, stage;
    generate
        for (number = 0; number < RINGS; number = number + 1) begin : rings
            // Odd: as many inversions. Rings of one length may lock to each other, so that the XOR of them stands still.
            localparam STAGES = 5 + 2 * RINGS * number + 2 * (INDEX % RINGS);

            (* DONT_TOUCH = "TRUE", ALLOW_COMBINATORIAL_LOOPS = "TRUE" *) wire [STAGES-1:0] ring;
            (* DONT_TOUCH = "TRUE" *) LUT2 #(.INIT(4'h7)) gate (.I0(ring[STAGES-1]), .I1(run), .O(ring[0]));
            for (stage = 1; stage < STAGES; stage = stage + 1) begin : stages
                (* DONT_TOUCH = "TRUE" *) LUT1 #(.INIT(2'h1)) inverter (.I0(ring[stage-1]), .O(ring[stage]));
            end

            // The first catches the ring at any moment, the second gives it a cycle to make up its mind.
            (* ASYNC_REG = "TRUE", DONT_TOUCH = "TRUE" *) reg first = 1'b0;
            (* ASYNC_REG = "TRUE", DONT_TOUCH = "TRUE" *) reg second = 1'b0;
            always @(posedge i_clk) begin
                first <= ring[STAGES-1];
                second <= first;
            end
            assign sampled[number] = second;
        end
    endgenerate

    always @(posedge i_clk) o_bit <= ^sampled;
endmodule

`else
`ifndef SYNTHESIS

// A stand-in for Vivado's simulator (AMD UG900: it sets XILINX_SIMULATOR), which would follow a loop without delay for
// ever: 64-bit xorshift (Marsaglia, 2003), another seed for each source. It is no noise: whoever reads this knows every
// bit, and every key that is made of them. A synthesiser (UG901: it sets SYNTHESIS) finds no source at all, and stops,
// should anybody set both.
module omap_noise #(
    parameter INDEX = 0
) (
    input  wire i_clk,
    output wire o_bit
);
    localparam [31:0] NUMBER = INDEX;
    reg [63:0] state;
    wire [63:0] left, right, next;
    initial state = 64'h9e3779b97f4a7c15 * (64'd2 * {32'd0, NUMBER} + 64'd1);

    assign left = state ^ {state[50:0], 13'd0};
    assign right = left ^ {7'd0, left[63:7]};
    assign next = right ^ {right[46:0], 17'd0};
    always @(posedge i_clk) state <= next;
    assign o_bit = state[63];
endmodule

`endif
`endif
