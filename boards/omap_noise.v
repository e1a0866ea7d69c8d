// A source of noise for UltraScale+: ring oscillators, sampled by a clock that knows nothing of them.
//
// What a sample is worth depends on how far the phases of the rings have drifted since the last one (boards/entropy.py
// takes one every INTERVAL cycles), hence on device, placement, voltage and temperature: measure it on the card
// (NIST SP 800-90B, section 3; unverified on a card).
//
// The loops are meant. Attributes keep the synthesiser off; omap_noise.xdc tells the implementation, for its design rule
// LUTLP-1, and so that no path through the rings is timed.

(* KEEP_HIERARCHY = "TRUE" *)
module omap_noise #(
    parameter INDEX = 0  // number of the source; sources beside each other get rings of other lengths
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
            localparam STAGES = 5 + 2 * number + 2 * (INDEX % RINGS);  // odd: as many inversions

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
