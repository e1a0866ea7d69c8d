// In the place of boards/omap_noise.v in simulations: 64-bit xorshift (Marsaglia, 2003), another seed for each source.
// It is no noise: whoever knows it knows every bit. It has no place in a build.

module omap_noise #(
    parameter INDEX = 0
) (
    input  wire i_clk,
    output wire o_bit
);
    reg [63:0] state;
    wire [63:0] left, right, next;
    initial state = 64'h9e3779b97f4a7c15 * (64'd2 * {32'd0, INDEX[31:0]} + 64'd1);

    assign left = state ^ {state[50:0], 13'd0};
    assign right = left ^ {7'd0, left[63:7]};
    assign next = right ^ {right[46:0], 17'd0};
    always @(posedge i_clk) state <= next;
    assign o_bit = state[63];
endmodule
