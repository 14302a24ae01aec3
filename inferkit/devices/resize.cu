// Decoded photographs to the images of a batch: cropped, resized, turned upright, and their colours laid apart.
//
// One thread makes one pixel. Bilinear, in the fixed point in which OpenCV's cv2.resize computes INTER_LINEAR of 8-bit
// images (11 bits for each weight, rows first), so that the pixels are those of stage 01 to the bit.

struct Photograph {
    const unsigned char *pixels;  // rows of red, green, blue
    long long width;              // pixels of a whole row
    long long top, left;          // of the part that is used
    long long rows, columns;
    long long turned;             // 1: transposed, then 2: rows reversed, 4: columns reversed
    long long place;              // of the image in the batch
};

struct Tap {
    int first, second;
    int weight_of_first, weight_of_second;
};

__device__ Tap tap(int at, int size, int source)
{
    float exact = (float)((at + 0.5) * (1.0 / ((double)size / source)) - 0.5);
    int first = (int)floorf(exact);
    float part = exact - first;
    if (first < 0) { first = 0; part = 0.0f; }
    if (first >= source - 1) { first = source - 1; part = 0.0f; }
    return {first, min(first + 1, source - 1), __float2int_rn((1.0f - part) * 2048.0f), __float2int_rn(part * 2048.0f)};
}

extern "C" __global__ void resize(const Photograph *photographs, unsigned char *batch, int size)
{
    int pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= size * size) return;
    Photograph photograph = photographs[blockIdx.y];
    int y = pixel / size, x = pixel % size;
    if (photograph.turned & 2) y = size - 1 - y;
    if (photograph.turned & 4) x = size - 1 - x;
    if (photograph.turned & 1) { int other = y; y = x; x = other; }
    Tap down = tap(y, size, (int)photograph.rows), across = tap(x, size, (int)photograph.columns);
    long long stride = photograph.width * 3;
    const unsigned char *corner = photograph.pixels + photograph.top * stride + photograph.left * 3;
    const unsigned char *upper = corner + down.first * stride, *lower = corner + down.second * stride;
    unsigned char *image = batch + photograph.place * 3 * size * size + pixel;
    for (int colour = 0; colour < 3; colour++) {
        int here = across.first * 3 + colour, next = across.second * 3 + colour;
        int above = upper[here] * across.weight_of_first + upper[next] * across.weight_of_second;
        int below = lower[here] * across.weight_of_first + lower[next] * across.weight_of_second;
        int value = (down.weight_of_first * (above >> 4) >> 16) + (down.weight_of_second * (below >> 4) >> 16);
        image[colour * size * size] = (unsigned char)min(255, max(0, (value + 2) >> 2));
    }
}
